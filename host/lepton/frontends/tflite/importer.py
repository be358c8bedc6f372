"""From the records of a TFLite file to `Graph`: inputs, outputs and names. Operators are in modules of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from lepton.graph import Graph, GraphError, Quantization, Recenter, Reshape
from lepton.graph.builder import Value
from lepton.graph.passes import apply

from . import detection, elementwise, layers, lstm, moves, parts, shapes, state, unary
from .operation import Entry, Operation
from .reader import read_tflite
from .records import RawModel, RawOperator
from .tensors import FileBuilder, Tensors, is_legacy
from .variables import Variables

CONVERT: dict[str, Entry] = (layers.CONVERT | elementwise.CONVERT | unary.CONVERT | moves.CONVERT | parts.CONVERT
                             | shapes.CONVERT | detection.CONVERT | state.CONVERT | lstm.CONVERT)
MAX_FOLDED = 1 << 24  # bytes; larger results of constants are computed at run time, to keep compiled files small

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
_LONGEST_LABEL = 40  # characters; longer names fill a line of a report


def import_tflite(source: str | PathLike | bytes, name: str | None = None, signature: str | None = None) -> Graph:
    """Reads a quantized TFLite network: a path, or the bytes of the file.

    The graph's name is `name`, else the one in the file, else the file's. `signature` chooses one of the networks of a
    file that has several; without it the first is taken. What depends on constants and shapes only is computed here,
    with batch 1 where the file leaves the batch open. Constants are read-only arrays. Weights may be quantized per
    tensor or per output channel. Legacy uint8 networks become int8 ones, with a `Recenter` at their inputs and
    outputs, which stay uint8. Values that are not quantized (float32, int32, int64, bool) are computed on the host.

    Raises GraphError for a corrupt file, and for an operator, data type or option that is not
    supported (the text says which are); OSError when the file cannot be read; ModuleNotFoundError
    when the extra `tflite` is not installed. Warns (UserWarning) about a bias whose quantization
    contradicts its shape or the scales that TFLite computes with.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        stem = "network"
    else:
        data = Path(source).read_bytes()
        stem = Path(source).stem
    raw = read_tflite(data, signature)
    unsupported = sorted({operator.name for network in (raw, *raw.once.values()) for operator in network.operators}
                         - set(CONVERT))
    if unsupported:
        verb = "is" if len(unsupported) == 1 else "are"
        raise GraphError(f"operator {', '.join(unsupported)} {verb} not supported; docs/operators.md lists those that "
                         "are")
    found = float_layer(raw)
    if found is not None and "BATCH_MATMUL" not in found:  # of two activations, which the host computes
        raise GraphError(f"{found} computes with float32 values. Quantize the network when it is compiled, with data "
                         "like its inputs (lepton compile --calibration data.npy, or quantize_tflite), or convert it "
                         "with full integer quantization, to int8 with int32 biases")
    in_file = "" if raw.name == "main" else raw.name  # what converters call every network
    return apply(TFLiteImporter(raw, name or in_file or stem).graph, "fold-pads")


def float_layer(raw: RawModel) -> str | None:
    """The first layer that computes with float32 values, None where there is none."""
    for index, operator in enumerate(raw.operators):
        if operator.name in _LAYERS and any(i >= 0 and raw.tensors[i].dtype == "FLOAT32" for i in operator.inputs):
            return f"operator {index} ({operator.name})"
    return None


class TFLiteImporter:
    """The graph of a file's records."""

    def __init__(self, raw: RawModel, name: str) -> None:
        self.raw = raw
        self.graph = Graph(name)
        self.builder = FileBuilder(self.graph, MAX_FOLDED)
        self.tensors = Tensors(raw, self.builder, Variables(self.builder, self._initial))
        # Operators have no names in TFLite. Their outputs' do for labels, unless a converter has made them up from
        # paths and the names of all the layers that it fused.
        results = [self.tensors.names[i] for operator in raw.operators for i in operator.outputs
                   if operator.name != "PAD"]
        self.plain = all(len(result) <= _LONGEST_LABEL and not {"/", ";"} & set(result) for result in results)
        for index in raw.inputs:
            self._within("the network's input", partial(self._input, index))
        for index, operator in enumerate(raw.operators):
            self._operator(index, operator)
        self._name_results()
        for index in raw.outputs:
            self._within("the network's output", partial(self._output, index))
        self._within("the network's variables", self.tensors.variables.finish)
        read = {name for node in self.graph.nodes for name in (*node.inputs, *node.outputs)}
        read.update(self.graph.inputs, self.graph.outputs)
        self.graph.tensors = {name: tensor for name, tensor in self.graph.tensors.items() if name in read}

    @staticmethod
    def _within(where: str, function: Callable[[], None]) -> None:
        try:
            function()
        except ValueError as error:  # GraphError is one
            text = str(error)
            raise GraphError(text if text.startswith(where) else f"{where}: {text}") from None

    def _initial(self, subgraph: int) -> dict[str, np.ndarray]:
        """What a subgraph of the file, which has neither inputs nor outputs, assigns to variables."""
        made = TFLiteImporter(self.raw.once[subgraph], "initial values").tensors.variables.present
        for name, value in made.items():
            if value.data is None:
                raise GraphError(f"the initial value of variable {name!r} must be constant")
        return {name: value.data for name, value in made.items() if value.data is not None}

    def _operator(self, index: int, raw: RawOperator) -> None:
        where = f"operator {index} ({raw.name})"
        counts, results, convert = CONVERT[raw.name]
        if len(raw.inputs) not in counts or (not raw.outputs if results == 0 else len(raw.outputs) != (results or 0)):
            kinds = {None: "no output", 0: "some outputs"}
            raise GraphError(f"{where} has {len(raw.inputs)} inputs and {len(raw.outputs)} outputs; supported are "
                             f"{_counts(counts)} and {kinds.get(results, '1 output')}")
        name = self.tensors.names[raw.outputs[0]] if raw.outputs else raw.name.lower()
        self.builder.label = name if self.plain else f"{raw.name.lower()}_{index}"
        self.builder.where = where
        self._within(where, partial(self._check_types, raw))
        self._within(where, partial(convert, Operation(raw, self.tensors)))

    def _check_types(self, raw: RawOperator) -> None:
        """int8 and uint8 meet in QUANTIZE only: the graph has int8 for both, while LiteRT's kernels would take the
        bytes of the one for the other where they do not check it."""
        found = {self.raw.tensors[i].dtype for i in (*raw.inputs, *raw.outputs) if i >= 0
                 and self.raw.tensors[i].quantization is not None}
        if raw.name != "QUANTIZE" and {"INT8", "UINT8"} <= found:
            raise GraphError("has INT8 and UINT8 operands, which only QUANTIZE may have; put one between them")

    # Inputs and outputs

    def _input(self, index: int) -> None:
        raw = self.raw.tensors[index]
        tensor = self.tensors.declared(index)
        if any(extent < 0 for extent in raw.signature[1:]):
            raise GraphError(f"tensor {raw.name!r} has the dynamic shape {raw.signature}; only the batch may be left "
                             "open")
        if 0 in tensor.shape:
            raise GraphError(f"tensor {raw.name!r} of shape {tensor.shape} has no elements; computed values must have "
                             "1 or more")
        if index in self.tensors.values:
            raise GraphError(f"{tensor.name!r} is listed twice")
        self.tensors.without_data(index)
        q = tensor.quantization
        legacy = is_legacy(raw)
        if legacy and q is not None:
            outside = Quantization(q.scale, q.zero_point + 128, q.axis)
            value = self.builder.input(tensor.name, tensor.shape, np.uint8, outside)
            self.builder.label = tensor.name
            value = self.builder.emit(Recenter(), [value], f"{tensor.name}@int8", q)
        else:
            value = self.builder.input(tensor.name, tensor.shape, tensor.dtype, q)
        self.tensors.values[index] = value

    def _name_results(self) -> None:
        """Gives values the names of the file's tensors that they are; that of a uint8 output is marked.

        A value that stands for several tensors has the name of the first.
        """
        values = self.tensors.values
        computed = self.tensors.computed
        taken = {v.name for i, v in values.items() if i in self.raw.inputs or i not in computed}
        taken |= set(self.graph.inputs)
        new: dict[str, str] = {}
        for index, value in values.items():
            if value.name not in taken and value.name not in new and value.data is None:
                marked = index in self.raw.outputs and is_legacy(self.raw.tensors[index])
                new[value.name] = f"{self.tensors.names[index]}@int8" if marked else self.tensors.names[index]
        for tensor in self.graph.tensors.values():
            tensor.name = new.get(tensor.name, tensor.name)
        self.graph.tensors = {tensor.name: tensor for tensor in self.graph.tensors.values()}
        for node in self.graph.nodes:
            node.inputs = [new.get(n, n) for n in node.inputs]
            node.outputs = [new.get(n, n) for n in node.outputs]

    def _output(self, index: int) -> None:
        self.graph.outputs.append(self._output_name(index))

    def _output_name(self, index: int) -> str:
        name = self.tensors.names[index]
        raw = self.raw.tensors[index]
        if index in self.tensors.computed and index not in self.tensors.values:
            raise GraphError(f"{name!r} is computed by no operator")
        value = self.tensors.value(index)
        if index in self.raw.inputs or name in self.graph.outputs:
            return name
        if not is_legacy(raw) and value.name == name and value.data is None:
            return name
        return self._made(index, value)

    def _made(self, index: int, value: Value) -> str:
        """Emits an operator that makes the output, for uint8, a constant, or a value with another name."""
        name = self.tensors.names[index]
        legacy = is_legacy(self.raw.tensors[index])
        if value.name == name:  # a constant of the file, which keeps its values under another name
            tensor = self.graph.tensors.pop(name)
            tensor.name = self.builder.unique(f"{name}.values")
            self.graph.tensors[tensor.name] = tensor
        output = replace(value.tensor, name=name, data=None)
        q = value.tensor.quantization
        if legacy and q is not None:
            output = replace(output, dtype=np.dtype(np.uint8), quantization=Quantization(q.scale, q.zero_point + 128))
        self.builder.label = name
        self.builder.fold_bytes = -1
        self.builder.emit(Recenter() if legacy else Reshape(tuple(value.shape)), [value], output=output)
        return name


def _counts(counts: Sequence[int]) -> str:
    if len(counts) > 3:
        return f"{min(counts)} to {max(counts)} inputs"
    return f"{' or '.join(map(str, counts))} inputs"
