"""What a TFLite file says, in Python numbers and numpy views: tensors, operators, networks and their signatures."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class RawQuantization:
    scale: np.ndarray  # float32
    zero_point: np.ndarray  # int64
    dimension: int
    custom: bool


@dataclass(frozen=True)
class RawTensor:
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # the shape with -1 where an extent is open; empty where none is
    dtype: str  # a name of the schema's TensorType, or "TYPE n" for one that it does not have
    data: np.ndarray | None  # uint8 view of the buffer; none for values computed at run time
    quantization: RawQuantization | None
    variable: bool
    sparse: bool


@dataclass(frozen=True)
class RawOperator:
    name: str  # of the schema's BuiltinOperator, or the custom code
    inputs: tuple[int, ...]  # -1: optional and absent
    outputs: tuple[int, ...]
    options: dict | None
    intermediates: tuple[int, ...] = ()  # tensors that say how values inside the operator are quantized


@dataclass(frozen=True)
class RawModel:
    name: str
    tensors: list[RawTensor]
    operators: list[RawOperator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    once: dict[int, "RawModel"] = field(default_factory=dict)  # the subgraphs of CALL_ONCE by their index


@dataclass(frozen=True)
class RawSignature:
    """The names by which a file's users know the inputs and outputs of one of its networks."""

    subgraph: int
    inputs: dict[str, int]  # index of the tensor
    outputs: dict[str, int]
