"""From a `lepton.graph.Graph` to a `CompiledModel` that the runtime executes (design D4, D5).

    passes     verify the graph, see through Reshape, fuse Add, split into chip and host steps
    lowering   operators -> `ChipLayer`s: tiles of weights, parameter records, walks
    tiling     which part of a layer one command computes
    placement  what stays in the scratchpad, and where everything lies
    schedule   commands in the order of a sequential execution, with what each reads and writes
    semaphores the waits and posts that keep that order where it matters
    encode     records and constants -> the program image
"""

from .compile import compile_graph
from .container import ModelFileError
from .layouts import Blocked, LayoutError, Rows
from .model import Binding, Buffer, ChipStep, CompiledModel, HostStep, LayerInfo, Stream, TensorInfo

__all__ = [
    "Binding", "Blocked", "Buffer", "ChipStep", "CompiledModel", "HostStep", "LayerInfo", "LayoutError",
    "ModelFileError", "Rows", "Stream", "TensorInfo", "compile_graph",
]
