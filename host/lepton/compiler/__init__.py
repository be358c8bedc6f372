"""From a `lepton.graph.Graph` to a `CompiledModel` that the runtime executes.

    verify     checks that the graph is well formed (`lepton.graph.verify`)
    passes     graph to graph: constants, paddings, tables, unused nodes (`lepton.graph.passes`)
    rule       what the compiler asks about an operator; `lowering.rules` has all rules
    operands   which image each operator sees, and where its bytes come from
    segments   jobs for the chip and work for the host in turn; Reshapes disappear, Tables and Adds are fused
    lowering   a module for each family of operators: what the chip refuses and why, and `ChipLayer`s for the rest
    tiling     which part of a layer one command computes, and an estimate of its cycles; `choice` takes the least
    placement  which tensors stay in the scratchpad, and the address of everything
    schedule   commands in the order of a sequential execution (`order`), with what each reads and writes (`walks`)
    semaphores the waits and posts that keep that order where it matters
    encode     records and constants to the program image; `repeat` merges commands that are alike
    timing     how many cycles the commands will take
"""

from .compile import compile_graph

__all__ = ["compile_graph"]
