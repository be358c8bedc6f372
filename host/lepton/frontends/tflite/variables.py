"""Variables: resources of the file (VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE) and tensors that an operator
changes in place, as the graph's states.

Operators are in the order in which LiteRT executes them, so what an operator reads is known: what the last one before
it assigned, else what the last inference left.
"""

from collections.abc import Callable

import numpy as np

from lepton.graph import GraphError, NetworkState, Table, Tensor
from lepton.graph.builder import GraphBuilder, Value
from lepton.graph.ops.conditions import same_reals

_SAME_CODES = np.arange(-128, 128).astype(np.int8).tobytes()
Initialize = Callable[[int], dict[str, np.ndarray]]  # what a subgraph of the file assigns to variables, by name


class Variables:
    """The present values of all variables while the operators are converted."""

    def __init__(self, builder: GraphBuilder, initialize: Initialize) -> None:
        self.builder = builder
        self.initialize = initialize
        self.handles: dict[int, str] = {}  # tensor -> the variable's name
        self.initial: dict[str, np.ndarray] = {}
        self.read_as: dict[str, Value] = {}
        self.present: dict[str, Value] = {}

    def read(self, name: str, declared: Tensor) -> Value:
        """The present value, of the type and shape of `declared`."""
        if name not in self.present:
            if name not in self.initial:
                raise GraphError(f"reads the variable {name!r}, to which nothing assigns a value before: it must have "
                                 "an initial value (CALL_ONCE)")
            self.read_as[name] = self.builder.input(self.builder.unique(name), declared.shape, declared.dtype,
                                                    declared.quantization)
            self.present[name] = self.read_as[name]
        value = self.present[name]
        if (value.shape, value.dtype) != (tuple(declared.shape), declared.dtype):
            raise GraphError(f"reads the variable {name!r} as {declared.dtype} {tuple(declared.shape)}, it holds "
                             f"{value.dtype} {value.shape}")
        return self.as_codes(value, declared)

    def start(self, subgraph: int) -> None:
        """The values that the subgraph assigns are those with which the first inference starts."""
        if self.present:
            raise GraphError("must be before the operators that read or assign variables")
        self.initial |= self.initialize(subgraph)

    def assign(self, name: str, value: Value) -> None:
        self.present[name] = value

    def as_codes(self, value: Value, like: Tensor) -> Value:
        """`value` with the quantization of `like`: variables hold bytes, whatever they mean."""
        if value.dtype != np.int8 or same_reals(value.tensor, like):
            return value
        return self.builder.emit(Table(_SAME_CODES), [value], quantization=like.quantization)

    def finish(self) -> None:
        """Makes the states of all variables that an inference reads before it assigns them."""
        for name, read in self.read_as.items():
            initial = self.initial[name]
            if (initial.shape, initial.dtype) != (read.shape, read.dtype):
                raise GraphError(f"the variable {name!r} starts with {initial.dtype} {initial.shape}, and is read as "
                                 f"{read.dtype} {read.shape}")
            self.builder.label = read.name
            written = self.builder.unique(f"{read.name}.next")
            self.builder.output(self.as_codes(self.present[name], read.tensor), written)
            self.builder.graph.states.append(NetworkState(read.name, read.name, written, initial))

