"""Pending operators that nothing quantizes, or whose operands are no 8-bit values: in float32 on the host."""

import onnx

from lepton.graph import GraphError, Reduce

from .elementwise import apply, clamped
from .importer import Importer, attributes, stated_axes
from .layers import BINARY
from .values import Pending


def _binary(importer: Importer, node: onnx.NodeProto) -> str:
    return apply(importer, BINARY[node.op_type](), *(importer.host(name) for name in node.input))


def _mean(importer: Importer, node: onnx.NodeProto) -> str:
    x = importer.host(node.input[0])
    shape, keep = importer.graph.tensors[x].shape, bool(attributes(node).get("keepdims", 1))
    axes = tuple(sorted(axis % len(shape) for axis in stated_axes(importer, node)))
    made = tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)
    return importer.emit(Reduce("mean", axes, keep), [x], importer.label, made, importer.graph.tensors[x].dtype)


def _refused(importer: Importer, node: onnx.NodeProto) -> str:
    raise GraphError(f"{importer.where}: its result must be quantized; quantize every activation to 8 bits")


_RULES = {**dict.fromkeys(BINARY, _binary), "ReduceMean": _mean}


def in_float(importer: Importer, value: Pending) -> str:
    """The tensor of a pending value in float32, with the bounds of the activations behind it."""
    tensor = _RULES.get(value.node.op_type, _refused)(importer, value.node)
    return clamped(importer, tensor, *value.bounds)
