"""The compiled network: what the compiler writes and the runtime needs. Nothing here imports the compiler.

    layouts    how tensors are stored in device memory, and the conversion both ways
    steps      jobs of the chip and operators of the host, in order
    container  the `.lepton` file
    model      `CompiledModel`: all of it, with `save` and `load`
"""

from .container import ModelFileError
from .layouts import Blocked, Layout, LayoutError, Rows
from .model import CompiledModel, dump, parse
from .steps import (
    Binding,
    BufferInfo,
    ChipStep,
    HostStep,
    LayerInfo,
    LayerPlan,
    ModelParts,
    Placed,
    StateInfo,
    TensorInfo,
    quantization_of,
)

__all__ = [
    "Binding", "Blocked", "BufferInfo", "ChipStep", "CompiledModel", "HostStep", "LayerInfo", "LayerPlan", "Layout",
    "LayoutError", "ModelFileError", "ModelParts", "Placed", "Rows", "StateInfo", "TensorInfo", "dump", "parse",
    "quantization_of",
]
