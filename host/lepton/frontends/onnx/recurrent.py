"""LSTM, GRU and RNN of ONNX as their steps (`frontends.recurrent`), each an operator of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lepton.graph import GraphError

from ..recurrent import Cell, CellFunction, CellOptions, CellWeights, Gru, Lstm, Range, run
from .node import attributes

RECURRENT = ("GRU", "LSTM", "RNN")
_KINDS: dict[str, type[Cell[str]]] = {"LSTM": Lstm, "GRU": Gru, "RNN": Cell}
_ORDER = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}  # of ONNX's gates (iofc, zrh) in the cells' (ifgo, rzn)
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
# Parameters of functions, alpha and beta, with the defaults of the operators of the same names (ONNX, RNN-22).
_PARAMETERS = {"affine": (1.0, 0.0), "leakyrelu": (0.01,), "thresholdedrelu": (1.0,), "scaledtanh": (1.0, 1.0),
               "hardsigmoid": (0.2, 0.5), "elu": (1.0,)}
_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "leakyrelu": "LeakyRelu", "elu": "Elu",
              "thresholdedrelu": "ThresholdedRelu", "hardsigmoid": "HardSigmoid", "softsign": "Softsign",
              "softplus": "Softplus"}
_SLICE_INPUTS = 10  # the opset since which the bounds of Slice are inputs (ONNX's changelog of operators)


def with_recurrent_steps(model: onnx.ModelProto) -> None:
    """Replaces every recurrent operator of a model whose inputs have fixed shapes, in place.

    Raises GraphError for weights and lengths that are computed, lengths that differ from image to image, functions
    that ONNX does not list, and inputs whose shape is not known.
    """
    graph = model.graph
    if not any(node.op_type in _KINDS and not node.domain for node in graph.node):
        return
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node
                  if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value"}
    shapes = _shapes(model)
    version = max(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in _KINDS and not node.domain:
            made = _OnnxOperators(node, version)
            _Recurrent(node, made, constants, shapes).expand()
            nodes += made.nodes
            graph.initializer.extend(made.initializers)
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes of values, where ONNX's inference finds them."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
            for value in [*graph.input, *graph.value_info] if value.type.tensor_type.HasField("shape")}


class _OnnxOperators:
    """Makes ONNX operators in place of `node`. `axis` is that of time in sequences, (steps, batch, channels) or
    (batch, steps, channels)."""

    def __init__(self, node: onnx.NodeProto, version: int):
        self.node = node
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.axis = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._version = version
        self._constants: dict[bytes, str] = {}
        self._prefix = node.name or next(filter(None, node.output))

    def linear(self, x: str, weights: np.ndarray, bias: np.ndarray | None, within: Range) -> str:
        shape = self.shapes[x]
        flat = x if len(shape) == 2 else self.reshape(x, (int(np.prod(shape[:-1])), shape[-1]))
        operands = [flat, self.constant(weights)] + ([] if bias is None else [self.constant(bias)])
        result = self._make("Gemm", operands, (self.shapes[flat][0], len(weights)), transB=1)
        return result if len(shape) == 2 else self.reshape(result, (*shape[:-1], len(weights)))

    def add(self, a: str, b: str, within: Range) -> str:
        return self._make("Add", [a, b], self.shapes[a])

    def subtract(self, a: str, b: str, within: Range) -> str:
        # ONNX Runtime's quantizer leaves Sub in float.
        negative = self._make("Mul", [b, self.constant(np.array(-1, np.float32))], self.shapes[b])
        return self._make("Add", [a, negative], self.shapes[a])

    def multiply(self, a: str, b: str, within: Range) -> str:
        return self._make("Mul", [a, b], max(self.shapes[a], self.shapes[b], key=len))

    def apply(self, function: CellFunction, x: str, within: Range) -> str:
        given = dict(function.parameters)
        shape = self.shapes[x]
        if function.name in _OPERATORS:
            return self._make(_OPERATORS[function.name], [x], shape, **given)
        alpha, beta = (self.constant(np.array(given[name], np.float32)) for name in ("alpha", "beta"))
        if function.name == "affine":
            return self._make("Add", [self._make("Mul", [x, alpha], shape), beta], shape)
        return self._make("Mul", [self._make("Tanh", [self._make("Mul", [x, beta], shape)], shape), alpha], shape)

    def clip(self, x: str, limit: float, within: Range) -> str:
        low, high = (self.constant(np.array(bound, np.float32)) for bound in (-limit, limit))
        above = self._make("Max", [x, low], self.shapes[x])
        return self._make("Min", [above, high], self.shapes[x])

    def constant(self, values: np.ndarray) -> str:
        values = np.ascontiguousarray(values) if values.ndim else values
        key = repr((values.shape, values.dtype.str)).encode() + values.tobytes()
        if key not in self._constants:
            name = f"{self._prefix}/constant{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(values, name))
            self._constants[key] = name
            self.shapes[name] = values.shape
        return self._constants[key]

    def step(self, sequence: str, time: int) -> str:
        shape = self.shapes[sequence]
        return self.reshape(self._cut(sequence, self.axis, time, time + 1), (shape[1 - self.axis], shape[2]))

    def channels(self, x: str, start: int, stop: int) -> str:
        return self._cut(x, len(self.shapes[x]) - 1, start, stop)

    def join(self, steps: Sequence[str]) -> str:
        batch, channels = self.shapes[steps[0]]
        one = (1, batch, channels) if self.axis == 0 else (batch, 1, channels)
        return self.concatenate([self.reshape(step, one) for step in steps], self.axis)

    def beside(self, sequences: Sequence[str]) -> str:
        return self.concatenate(sequences, 2)

    def named(self, x: str, within: Range) -> str:
        return x

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        return self._make("Reshape", [x, self.constant(np.array(shape, np.int64))], shape)

    def concatenate(self, values: Sequence[str], axis: int) -> str:
        if len(values) == 1:
            return values[0]
        shape = list(self.shapes[values[0]])
        shape[axis] = sum(self.shapes[value][axis] for value in values)
        return self._make("Concat", list(values), tuple(shape), axis=axis)

    def part(self, states: str, index: int, axis: int) -> str:
        """The state of one direction, (batch, channels), of those along an axis."""
        shape = list(self.shapes[states])
        del shape[axis]
        return self.reshape(self._cut(states, axis, index, index + 1), tuple(shape))

    def result(self, value: str, name: str) -> None:
        """Gives a value the name of a result."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{self._prefix}/{name}"))

    def _cut(self, x: str, axis: int, start: int, stop: int) -> str:
        shape = list(self.shapes[x])
        if (start, stop) == (0, shape[axis]):
            return x
        shape[axis] = stop - start
        if self._version < _SLICE_INPUTS:
            return self._make("Slice", [x], tuple(shape), axes=[axis], starts=[start], ends=[stop])
        bounds = [self.constant(np.array([number], np.int64)) for number in (start, stop, axis)]
        return self._make("Slice", [x, *bounds], tuple(shape))

    def _make(self, op: str, inputs: list[str], shape: tuple[int, ...], **options: Any) -> str:
        name = f"{self._prefix}/{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **options))
        self.shapes[name] = shape
        return name


class _Recurrent:
    """One recurrent operator, expanded by `made`."""

    def __init__(self, node: onnx.NodeProto, made: _OnnxOperators, constants: dict[str, np.ndarray],
                 shapes: dict[str, tuple[int, ...]]):
        self.node = node
        self.made = made
        self.constants = constants
        self.given = attributes(node)
        self.inputs = [*node.input, *[""] * (8 - len(node.input))]
        x = self.inputs[0]
        made.shapes[x] = constants[x].shape if x in constants else shapes.get(x, ())
        if len(made.shapes[x]) != 3 or not all(made.shapes[x]):
            raise self._error(f"the shape of its input {x!r} must be three known extents of at least 1")
        made.axis = int(self.given.get("layout", 0))
        self.length = self._length()
        batch = made.shapes[x][1 - made.axis]
        recurrent = self._constant(2, "R")
        states = len(recurrent), batch, recurrent.shape[-1]
        made.shapes |= dict.fromkeys(filter(None, self.inputs[5:7]), states if made.axis == 0 else (
            batch, len(recurrent), recurrent.shape[-1]))

    def expand(self) -> None:
        made = self.made
        weights = self._constant(1, "W")
        recurrent = self._constant(2, "R")
        sides = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        direction = self.given.get("direction", b"forward")
        direction = direction.decode() if isinstance(direction, bytes) else str(direction)
        backwards = sides.get(direction)
        if backwards is None or len(weights) != len(backwards):
            raise self._error(f"the direction {direction!r} does not fit weights for {len(weights)}")
        outputs: list[str] = []
        states: list[tuple[str | None, str | None]] = []
        for side, backward in enumerate(backwards):
            cell = self._cell(side, len(backwards), weights[side], recurrent[side])
            outputs.append(self._padded(made.join(run(cell, self.inputs[0], self.length, backward))))
            states.append((cell.h, cell.c))
        names = [*self.node.output, "", "", ""]
        if names[0]:
            shape = made.shapes[outputs[0]]
            place = 1 if made.axis == 0 else 2
            parts = [made.reshape(output, (*shape[:place], 1, *shape[place:])) for output in outputs]
            made.result(made.concatenate(parts, place), names[0])
        for index, name in enumerate(names[1:3]):
            if name:
                self._state([state for state in (pair[index] for pair in states) if state is not None], name)

    def _cell(self, side: int, sides: int, weights: np.ndarray, recurrent: np.ndarray) -> Cell[str]:
        kind = self.node.op_type
        gates = len(_ORDER[kind])
        size = recurrent.shape[1]
        if self.given.get("hidden_size", size) != size or recurrent.shape[0] != gates * size:
            raise self._error(f"hidden_size {self.given.get('hidden_size')} does not fit weights R of shape "
                              f"{recurrent.shape}")

        def ordered(array: np.ndarray) -> np.ndarray:
            return array.reshape(gates, size, *array.shape[1:])[_ORDER[kind]].reshape(array.shape)

        biases = self._constant(3, "B")[side] if self.inputs[3] else np.zeros(2 * gates * size, np.float32)
        peepholes = self._constant(7, "P")[side] if kind == "LSTM" and self.inputs[7] else None
        states = [self.made.part(self.inputs[i], side, self.made.axis) if self.inputs[i] and self._counts(i) else None
                  for i in ((5, 6) if kind == "LSTM" else (5,))]
        cell = CellWeights(ordered(weights), ordered(recurrent), ordered(biases[:gates * size]),
                           ordered(biases[gates * size:]), peepholes=peepholes)
        return _KINDS[kind](self.made, cell, self._options(side, sides), f"{self.node.name}.{side}", *states)

    def _options(self, side: int, sides: int) -> CellOptions:
        names = [name.decode() if isinstance(name, bytes) else name for name in
                 self.given.get("activations", _DEFAULTS[self.node.op_type] * sides)]
        each = len(_DEFAULTS[self.node.op_type])
        if len(names) != each * sides:
            raise self._error(f"it has {len(names)} activations; {each * sides} are needed")
        alphas, betas = (list(self.given.get(f"activation_{name}", [])) for name in ("alpha", "beta"))
        functions: list[CellFunction] = []
        for name in map(str.lower, names):
            if name not in _OPERATORS and name not in _PARAMETERS:
                raise self._error(f"the activation {name!r} is not supported")
            stated = [values.pop(0) if values else default for values, default in
                      zip((alphas, betas), _PARAMETERS.get(name, ()), strict=False)]
            functions.append(CellFunction(name, tuple(zip(("alpha", "beta"), stated, strict=False))))
        after = self.node.op_type != "GRU" or bool(self.given.get("linear_before_reset", 0))
        clip = self.given.get("clip")
        return CellOptions(tuple(functions[side * each:(side + 1) * each]), None if not clip else float(clip), after,
                           bool(self.given.get("input_forget", 0)))

    def _length(self) -> int:
        whole = self.made.shapes[self.inputs[0]][self.made.axis]
        if not self.inputs[4]:
            return whole
        lengths = set(self._constant(4, "sequence_lens").ravel().tolist())
        if len(lengths) != 1 or not 1 <= min(lengths) <= whole:
            raise self._error(f"sequence_lens {sorted(lengths)} must be one length in 1..{whole} for all images")
        return int(lengths.pop())

    def _padded(self, sequence: str) -> str:
        """A sequence with zeros for the steps that were left out."""
        shape = list(self.made.shapes[sequence])
        shape[self.made.axis] = self.made.shapes[self.inputs[0]][self.made.axis] - self.length
        if not shape[self.made.axis]:
            return sequence
        return self.made.concatenate([sequence, self.made.constant(np.zeros(shape, np.float32))], self.made.axis)

    def _state(self, states: list[str], name: str) -> None:
        batch, channels = self.made.shapes[states[0]]
        one = (1, batch, channels) if self.made.axis == 0 else (batch, 1, channels)
        self.made.result(self.made.concatenate([self.made.reshape(s, one) for s in states], self.made.axis), name)

    def _counts(self, position: int) -> bool:
        """Whether an initial state is more than constant zeros."""
        value = self.constants.get(self.inputs[position])
        return value is None or bool(value.any())

    def _constant(self, position: int, name: str) -> np.ndarray:
        value = self.constants.get(self.inputs[position])
        if value is None:
            raise self._error(f"its {name} must be constant")
        return value

    def _error(self, text: str) -> GraphError:
        return GraphError(f"{self.node.op_type} {self.node.name!r}: {text}")
