"""The parts of a compiled model: jobs for the chip, operators for the host, and what the report says of them."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..arch import ChipConfig, Engine, Region, Stream
from ..graph import Arithmetic, Op, Tensor
from ..graph.interpret import Prepared, prepare
from ..graph.operands import Later
from .layouts import Data, Layout, LayoutError

_INT8 = np.dtype(np.int8)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of the model: real = scale * (q - zero_point)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, eq=False)
class StateInfo:
    """A value that the model keeps from one run to the next: its name, type and shape are those of `tensor`."""

    tensor: TensorInfo
    read: str  # what the steps call it before a run
    written: str  # and afterwards
    initial: np.ndarray

    @property
    def name(self) -> str:
        return self.tensor.name


@dataclass(frozen=True)
class Binding:
    """A tensor that crosses between host and device: its place in its region, and its layout there."""

    name: str
    offset: int  # bytes from the start of the region
    layout: Layout
    dtype: str = "int8"  # of the host's array, or "uint8"
    table: bytes = b""  # 256 results that the array's bytes, unsigned, go through on the way; none if empty

    @property
    def size(self) -> int:
        return self.layout.size

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """The bytes for the device of an array of the layout's shape. Raises `LayoutError`."""
        array = np.asarray(array)
        if array.dtype != self._type:
            raise LayoutError(f"the array must be {self.dtype}, not {array.dtype}; quantize it first")
        mapped = self._mapped(array)
        return self.layout.to_device(mapped if mapped.dtype == _INT8 else mapped.view(_INT8))

    def from_device(self, data: Data) -> np.ndarray:
        """The host's array in the bytes of the device. Raises `LayoutError`."""
        mapped = self._mapped(self.layout.from_device(data))
        return mapped if mapped.dtype == self._type else mapped.view(self._type)

    @cached_property
    def _type(self) -> np.dtype:
        """Compared with arrays' types: numpy takes ten times as long to compare one with a name."""
        return np.dtype(self.dtype)

    def _mapped(self, array: np.ndarray) -> np.ndarray:
        return np.frombuffer(self.table, np.uint8)[array.view(np.uint8)] if self.table else array


@dataclass(frozen=True)
class BufferInfo:
    """One device buffer of the model, for listings and allocation."""

    step: int  # index in `CompiledModel.steps`
    name: str
    region: Region
    offset: int
    size: int


@dataclass(frozen=True, eq=False)
class ChipStep:
    """One job. Regions of size 0 need no memory; `scratch_size` bytes of SCRATCH need no initial contents."""

    name: str
    program: bytes  # the image of region PROGRAM: constants and command streams
    streams: dict[Engine, Stream]
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]
    input_size: int
    output_size: int
    scratch_size: int
    cycles: float = 0.0  # from doorbell to completion, predicted for a memory profile

    def region_size(self, region: Region) -> int:
        """Bytes that the job needs in a region."""
        return {Region.PROGRAM: len(self.program), Region.INPUT: self.input_size,
                Region.OUTPUT: self.output_size, Region.SCRATCH: self.scratch_size}[region]


@dataclass(frozen=True, eq=False)
class HostStep:
    """An operator that the CPU executes exactly as the framework's own kernel would.

    `inputs` go with the operands, None for one that is left out; constants carry their data.
    """

    name: str
    op: Op
    arithmetic: Arithmetic
    inputs: tuple[Tensor | None, ...]
    output: Tensor

    @cached_property
    def kernel(self) -> Prepared:
        """What computes the output, prepared by its first execution."""
        return prepare(self.op, self.arithmetic, self.inputs, self.output)

    @cached_property
    def _later(self) -> Later:
        return self.kernel.later

    @cached_property
    def _first(self) -> str:
        """The name of the first operand; empty where that is not computed."""
        first = self.inputs[0] if self.inputs else None
        return "" if first is None or first.data is not None else first.name

    @cached_property
    def _target(self) -> str:
        return self.output.name

    @cached_property
    def _names(self) -> tuple[str, ...] | None:
        """Names of the operands where all are computed."""
        names = tuple(t.name for t in self.inputs if t is not None and t.data is None)
        return names if len(names) == len(self.inputs) else None

    @cached_property
    def _sources(self) -> tuple[tuple[str | None, np.ndarray | None], ...]:
        """Of each operand the name, or None and its data, which is None where it is left out."""
        return tuple((None, None if t is None else t.data) if t is None or t.data is not None else (t.name, None)
                     for t in self.inputs)

    def run(self, values: dict[str, np.ndarray]) -> None:
        """Reads what it needs from `values` by name, adds its output."""
        of_one = self._later.of_one
        if of_one is not None and self._first:
            values[self._target] = of_one(values[self._first])
            return
        names = self._names
        if names is None:
            arrays = [data if name is None else values[name] for name, data in self._sources]
        else:
            arrays = [values[name] for name in names]
        values[self._target] = self.kernel(arrays)


@dataclass(frozen=True)
class Placed:
    """Where one operator of the network runs, and what it costs there."""

    name: str
    op: str
    where: str  # "chip", "host", or "free": it only renames memory
    reason: str  # why not on the chip
    macs: int
    bytes: int  # of constants it reads, and of activations that it reads and writes
    step: int  # index in `CompiledModel.steps`, -1 where it needs none


@dataclass(frozen=True)
class LayerPlan:
    """How the compiler means to run a layer, and the cycles that it expects."""

    tile: tuple[int, int, int]  # output rows, columns, and channel blocks of one command
    tiles: int
    streams: tuple[str, ...]  # of "source", "output", "residual": those that pass through memory
    cycles: float
    compute_cycles: float  # that the array needs
    read_cycles: float  # that the bus needs for activations
    weight_cycles: float  # and for weights and parameters
    tried: int  # tilings that fitted the memories

    @property
    def bound(self) -> str:
        """What takes longest: "compute", "read" or "weights"."""
        costs = {"compute": self.compute_cycles, "read": self.read_cycles, "weights": self.weight_cycles}
        return max(costs, key=lambda name: costs[name])


@dataclass(frozen=True)
class LayerInfo:
    """One row of the report; `index` is the layer's place in its job: the `layer` field of its commands, and its slot
    for counters."""

    index: int
    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int  # of the network, without padding to lanes; 0 for pooling and addition
    weight_bytes: int  # int8 weights of the network, without padding or parameters
    step: int = 0  # index of the ChipStep in `CompiledModel.steps`
    plan: LayerPlan | None = None


@dataclass(eq=False)
class ModelParts:
    """Everything that the file of a compiled model holds."""

    name: str
    config: ChipConfig
    source_hash: str  # sha256 of the graph's contents
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    steps: list[ChipStep | HostStep] = field(default_factory=list)
    layers: list[LayerInfo] = field(default_factory=list)
    placement: list[Placed] = field(default_factory=list)
    states: list[StateInfo] = field(default_factory=list)

    @property
    def config_hash(self) -> str:
        """`ChipConfig.hash` of the chip that the programs are for."""
        return self.config.hash


def quantization_of(tensor: Tensor) -> tuple[float | None, int | None]:
    """Per-tensor (scale, zero point) of a graph tensor, or (None, None)."""
    if tensor.quantization is None:
        return None, None
    return float(tensor.scale), tensor.zero_point
