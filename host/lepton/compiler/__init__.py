"""From a `lepton.graph.Graph` to a `CompiledModel` that the runtime executes.

    verify     is the graph well formed? (`lepton.graph.verify`)
    passes     graph to graph: constants, paddings, tables, what nobody reads
    operands   which image each operator sees, and where its bytes come from
    segments   jobs for the chip and work for the host in turn; Reshapes disappear, Tables and Adds are fused
    lowering   a module for each family of operators: what the chip refuses and why, and `ChipLayer`s for the rest
    tiling     which part of a layer one command computes
    placement  what stays in the scratchpad, and where everything lies
    schedule   commands in the order of a sequential execution, with what each reads and writes
    semaphores the waits and posts that keep that order where it matters
    encode     records and constants -> the program image
    timing     how many cycles the commands will take
"""

from .compile import compile_graph

__all__ = ["compile_graph"]
