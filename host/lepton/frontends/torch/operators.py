"""The operators of PyTorch that the front end knows: one line each, by name and signature.

All other properties of an operator follow from its line: what `LeptonQuantizer` makes int8 (`Kind`), which
moves it is (`steps`), and what computes it on floats (`hosts`). Operators without a line are computed on the host by
their own name, where `lepton.graph.numerics.aten` has them.
"""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import torch
from torch.fx import Node

from lepton.graph import Add, Div, MatMul, Maximum, Minimum, Mul, Sub, Unary

from . import steps
from .hosts import BILINEAR, CAST, SOFTMAX, HostOperator, always, reduced
from .steps import Join, Part, Step

aten = torch.ops.aten


class Kind(Enum):
    """What an operator is to the quantizer and to the chip. FLOAT: it has no int8 form of its own."""

    FLOAT = auto()
    CONVOLUTION = auto()
    TRANSPOSED = auto()  # convolution
    LINEAR = auto()
    NORMALIZATION = auto()
    CLAMP = auto()  # the layer before it computes it in its tail
    SUM = auto()
    PRODUCT = auto()
    FUNCTION = auto()  # of one value: a table
    ARITHMETIC = auto()  # a table where all but one operand are constants
    POOL = auto()
    ADAPTIVE_POOL = auto()
    MEAN = auto()
    BILINEAR = auto()  # interpolation
    EXTREMUM = auto()
    MOVE = auto()
    SPLIT = auto()
    JOIN = auto()
    WRITE = auto()  # some values of the first operand are replaced by those of another one


# The result has the scale and zero point of the operand: no rounding at all.
SAME_GRID = (Kind.POOL, Kind.ADAPTIVE_POOL, Kind.EXTREMUM, Kind.MOVE, Kind.WRITE)
# The value is a function of one value where all other operands are constants.
POINTWISE = (Kind.FUNCTION, Kind.CLAMP, Kind.SUM, Kind.PRODUCT, Kind.EXTREMUM, Kind.ARITHMETIC)
WITH_WEIGHTS = (Kind.CONVOLUTION, Kind.TRANSPOSED, Kind.LINEAR)
MATRIX_PRODUCTS = (torch.ops.aten.matmul.default, torch.ops.aten.bmm.default)  # of two tensors


@dataclass(frozen=True)
class Operator:
    kind: Kind = Kind.FLOAT
    host: HostOperator | None = None
    step: Step | None = None
    join: Join | None = None
    part: Part | None = None


def _unary(kind: str, of: Kind = Kind.FLOAT) -> Operator:
    return Operator(of, always(Unary(kind)))


def _move(step: Step) -> Operator:
    return Operator(Kind.MOVE, step=step)


_PRODUCT = always(MatMul(), 2, least_rank=2)
_ADD = always(Add(), 2)
_SUB = always(Sub(), 2)
_MUL = always(Mul(), 2)
_DIV = always(Div(), 2)

OPERATORS: Mapping[object, Operator] = {
    # Layers with weights
    aten.conv1d.default: Operator(Kind.CONVOLUTION),
    aten.conv1d.padding: Operator(Kind.CONVOLUTION),
    aten.conv2d.default: Operator(Kind.CONVOLUTION),
    aten.conv2d.padding: Operator(Kind.CONVOLUTION),
    aten.conv_transpose1d.default: Operator(Kind.TRANSPOSED),
    aten.conv_transpose2d.input: Operator(Kind.TRANSPOSED),
    aten.linear.default: Operator(Kind.LINEAR),
    aten.batch_norm.default: Operator(Kind.NORMALIZATION),
    # Clamps
    aten.relu.default: _unary("relu", Kind.CLAMP),
    aten.relu6.default: Operator(Kind.CLAMP),
    aten.hardtanh.default: Operator(Kind.CLAMP),
    aten.clamp.default: Operator(Kind.CLAMP),
    aten.clamp_min.default: Operator(Kind.CLAMP),
    aten.clamp_max.default: Operator(Kind.CLAMP),
    # Functions
    aten.sigmoid.default: _unary("sigmoid", Kind.FUNCTION),
    aten.tanh.default: _unary("tanh", Kind.FUNCTION),
    aten.exp.default: _unary("exp", Kind.FUNCTION),
    aten.abs.default: _unary("abs", Kind.FUNCTION),
    aten.neg.default: _unary("neg", Kind.FUNCTION),
    aten.hardswish.default: Operator(Kind.FUNCTION),
    aten.hardsigmoid.default: Operator(Kind.FUNCTION),
    aten.silu.default: Operator(Kind.FUNCTION),
    aten.gelu.default: Operator(Kind.FUNCTION),
    aten.leaky_relu.default: Operator(Kind.FUNCTION),
    aten.prelu.default: Operator(Kind.FUNCTION),
    aten.elu.default: Operator(Kind.FUNCTION),
    aten.selu.default: Operator(Kind.FUNCTION),
    aten.celu.default: Operator(Kind.FUNCTION),
    aten.mish.default: Operator(Kind.FUNCTION),
    aten.softplus.default: Operator(Kind.FUNCTION),
    aten.log_sigmoid.default: Operator(Kind.FUNCTION),
    aten.hardshrink.default: Operator(Kind.FUNCTION),
    aten.softshrink.default: Operator(Kind.FUNCTION),
    aten.threshold.default: Operator(Kind.FUNCTION),
    aten.log.default: _unary("log"),
    aten.erf.default: _unary("erf"),
    aten.floor.default: _unary("floor"),
    aten.ceil.default: _unary("ceil"),
    aten.round.default: _unary("round"),
    aten.sqrt.default: _unary("sqrt", Kind.ARITHMETIC),
    aten.reciprocal.default: _unary("reciprocal", Kind.ARITHMETIC),
    aten.square.default: Operator(Kind.ARITHMETIC),
    # Arithmetic
    aten.add.Tensor: Operator(Kind.SUM, _ADD),
    aten.sub.Tensor: Operator(Kind.SUM, _SUB),
    aten.mul.Tensor: Operator(Kind.PRODUCT, _MUL),
    aten.div.Tensor: Operator(Kind.PRODUCT, _DIV),
    aten.add.Scalar: Operator(Kind.ARITHMETIC, _ADD),
    aten.sub.Scalar: Operator(host=_SUB),
    aten.mul.Scalar: Operator(Kind.ARITHMETIC, _MUL),
    aten.div.Scalar: Operator(host=_DIV),
    aten.div.Tensor_mode: Operator(host=_DIV),
    aten.div.Scalar_mode: Operator(host=_DIV),
    aten.rsub.Scalar: Operator(Kind.ARITHMETIC),
    aten.pow.Tensor_Scalar: Operator(Kind.ARITHMETIC),
    aten.maximum.default: Operator(Kind.EXTREMUM, always(Maximum(), 2)),
    aten.minimum.default: Operator(Kind.EXTREMUM, always(Minimum(), 2)),
    operator.add: Operator(host=_ADD),
    operator.sub: Operator(host=_SUB),
    operator.mul: Operator(host=_MUL),
    aten.matmul.default: Operator(host=_PRODUCT),
    aten.bmm.default: Operator(host=_PRODUCT),
    aten.mm.default: Operator(host=_PRODUCT),
    # Pools and reductions
    aten.max_pool1d.default: Operator(Kind.POOL),
    aten.max_pool2d.default: Operator(Kind.POOL),
    aten.avg_pool1d.default: Operator(Kind.POOL),
    aten.avg_pool2d.default: Operator(Kind.POOL),
    aten.adaptive_avg_pool1d.default: Operator(Kind.ADAPTIVE_POOL),
    aten.adaptive_avg_pool2d.default: Operator(Kind.MEAN),
    aten.mean.dim: Operator(Kind.MEAN, reduced("mean")),
    aten.mean.default: Operator(host=reduced("mean")),
    aten.sum.default: Operator(host=reduced("sum")),
    aten.sum.dim_IntList: Operator(host=reduced("sum")),
    aten.amax.default: Operator(host=reduced("max")),
    aten.amin.default: Operator(host=reduced("min")),
    aten.softmax.int: Operator(host=SOFTMAX),
    aten._softmax.default: Operator(host=SOFTMAX),
    # Moves
    aten.detach.default: _move(steps.nothing),
    aten.flatten.using_ints: _move(steps.reshape),
    aten.reshape.default: _move(steps.reshape),
    aten.squeeze.default: _move(steps.reshape),
    aten.squeeze.dim: _move(steps.reshape),
    aten.squeeze.dims: _move(steps.reshape),
    aten.unflatten.int: _move(steps.reshape),
    aten.unsqueeze.default: _move(steps.reshape),
    aten.view.default: _move(steps.reshape),
    aten._unsafe_view.default: _move(steps.reshape),
    aten.permute.default: _move(steps.permute),
    aten.transpose.int: _move(steps.transpose),
    aten.t.default: _move(steps.matrix_transpose),
    aten.slice.Tensor: _move(steps.slice_),
    aten.select.int: _move(steps.select),
    aten.pad.default: _move(steps.pad),
    aten.constant_pad_nd.default: _move(steps.pad),
    aten.upsample_nearest2d.default: _move(steps.nearest),
    aten.upsample_nearest2d.vec: _move(steps.nearest),
    aten.pixel_shuffle.default: _move(steps.pixel_shuffle),
    aten.pixel_unshuffle.default: _move(steps.pixel_unshuffle),
    aten.channel_shuffle.default: _move(steps.channel_shuffle),
    aten.expand.default: _move(steps.expand),
    aten.expand_as.default: _move(steps.expand),
    aten.flip.default: _move(steps.flip),
    aten.roll.default: _move(steps.roll),
    aten.repeat.default: _move(steps.repeat),
    aten.split.Tensor: Operator(Kind.SPLIT, part=steps.split),
    aten.split_with_sizes.default: Operator(Kind.SPLIT, part=steps.split),
    aten.chunk.default: Operator(Kind.SPLIT, part=steps.split),
    aten.unbind.int: Operator(Kind.SPLIT, part=steps.unbind),
    aten.cat.default: Operator(Kind.JOIN, join=steps.concat),
    aten.stack.default: Operator(Kind.JOIN, join=steps.stack),
    aten.index_copy.default: Operator(Kind.WRITE),
    aten.scatter.src: Operator(Kind.WRITE),
    # Others
    aten.upsample_bilinear2d.default: Operator(Kind.BILINEAR, BILINEAR),
    aten.upsample_bilinear2d.vec: Operator(Kind.BILINEAR, BILINEAR),
    aten.to.device: Operator(host=CAST),
    aten.to.dtype: Operator(host=CAST),
    aten.to.dtype_layout: Operator(host=CAST),
    aten.to.other: Operator(host=CAST),
    aten._to_copy.default: Operator(host=CAST),
    aten.type_as.default: Operator(host=CAST),
}
_UNKNOWN = Operator()


def known(node: Node) -> Operator:
    """The line of the node's operator; that of a float operator without anything where it has none."""
    return OPERATORS.get(node.target, _UNKNOWN)


def kind(node: Node) -> Kind:
    return known(node).kind
