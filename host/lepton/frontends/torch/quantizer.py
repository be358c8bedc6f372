"""`LeptonQuantizer`: which values of an exported module become int8, in the terms of torchao's PT2E."""

import operator

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import (
    FakeQuantize,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    DerivedQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from .functional import functional

aten = torch.ops.aten

CONVOLUTIONS = (aten.conv2d.default, aten.conv2d.padding, aten.conv1d.default, aten.conv1d.padding)
TRANSPOSED = (aten.conv_transpose2d.input, aten.conv_transpose1d.default)
LINEAR = (aten.linear.default,)
NORMALIZATIONS = (aten.batch_norm.default,)
# Clamps that the layer before computes in its tail.
ACTIVATIONS = (aten.relu.default, aten.relu6.default, aten.hardtanh.default, aten.clamp.default,
               aten.clamp_min.default, aten.clamp_max.default)
PRODUCTS = (aten.mul.Tensor, aten.div.Tensor)
SUMS = (aten.add.Tensor, aten.sub.Tensor)
UNARY = (aten.sigmoid.default, aten.tanh.default, aten.hardswish.default, aten.hardsigmoid.default, aten.silu.default,
         aten.gelu.default, aten.leaky_relu.default, aten.elu.default, aten.abs.default, aten.neg.default,
         aten.exp.default, aten.mish.default, aten.softplus.default, aten.selu.default, aten.celu.default,
         aten.log_sigmoid.default, aten.hardshrink.default, aten.softshrink.default, aten.threshold.default,
         aten.prelu.default)
POOLS = (aten.max_pool2d.default, aten.avg_pool2d.default, aten.max_pool1d.default, aten.avg_pool1d.default,
         aten.adaptive_avg_pool1d.default)
# The result is on the same grid as the operand: no rounding at all.
SAME = (*POOLS, aten.flatten.using_ints, aten.view.default, aten._unsafe_view.default, aten.unflatten.int,
        aten.reshape.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default,
        aten.permute.default, aten.transpose.int, aten.slice.Tensor, aten.select.int, aten.pad.default,
        aten.constant_pad_nd.default, aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default,
        aten.pixel_shuffle.default, aten.pixel_unshuffle.default, aten.channel_shuffle.default,
        aten.maximum.default, aten.minimum.default, aten.expand.default, aten.expand_as.default, aten.t.default,
        aten.flip.default, aten.roll.default, aten.repeat.default, aten.detach.default)
SPLITS = (aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.unbind.int)
JOINS = (aten.cat.default, aten.stack.default)
RANGES = ("minmax", "moving_average", "histogram")

_EPS = 2.0**-16


class LeptonQuantizer(Quantizer):
    """int8 as Lepton's chip computes it: activations per tensor and asymmetric, weights symmetric in -127..127.

    Give it to `torchao.quantization.pt2e.quantize_pt2e.prepare_pt2e` (post-training) or `prepare_qat_pt2e`
    (quantization-aware training): the same object serves both. Weights of convolutions have a scale per output
    channel; those of linear layers one scale (`per_channel_linear` for one per row), which takes less memory traffic.

    ranges: "minmax", "moving_average" or "histogram" (least squared error): how activations' ranges follow from
        the calibration.

    Raises ValueError for another `ranges`.
    """

    def __init__(self, ranges: str = "minmax", per_channel_linear: bool = False):
        super().__init__()
        if ranges not in RANGES:
            raise ValueError(f"ranges must be one of {', '.join(RANGES)}, not {ranges!r}")
        observers = {"minmax": MinMaxObserver, "moving_average": MovingAverageMinMaxObserver,
                     "histogram": HistogramObserver}
        self.activation = _spec(observers[ranges], -128, 127, torch.per_tensor_affine)
        self.per_channel = {axis: _spec(PerChannelMinMaxObserver, -127, 127, torch.per_channel_symmetric, axis)
                            for axis in (0, 1)}
        self.per_tensor = _spec(MinMaxObserver, -127, 127, torch.per_tensor_symmetric)
        self.per_channel_linear = per_channel_linear

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        return functional(model, gradients=True)

    def annotate(self, model: GraphModule) -> GraphModule:
        """Marks every operator that can be computed in int8; others stay float, and run on the host."""
        for node in model.graph.nodes:
            if node.op == "call_function" and not _annotated(node) and _is_float(node):
                self._annotate(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: what cannot be int8 stays float."""

    def _annotate(self, node: Node) -> None:
        if node.target in (*CONVOLUTIONS, *TRANSPOSED, *LINEAR):
            weights = self.per_tensor
            if node.target in TRANSPOSED:  # PyTorch has the weights of groups side by side: no axis of output channels
                weights = self.per_channel[1] if _groups(node) == 1 else self.per_tensor
            elif node.target in CONVOLUTIONS or self.per_channel_linear:
                weights = self.per_channel[0]
            operands = {node.args[0]: self.activation, node.args[1]: weights}
            if len(node.args) > 2 and isinstance(node.args[2], Node):
                operands[node.args[2]] = _bias(node, weights.qscheme == torch.per_channel_symmetric)
            self._chain(node, operands, normalized=True)
        elif node.target in JOINS:
            self._join(node)
        elif node.target in SAME:
            self._same(node)
        elif _is_mean(node) or _scales_channels(node) or (
                node.target in (*SUMS, *UNARY, *ACTIVATIONS, *NORMALIZATIONS) and
                any(map(_is_int8, self._operands(node)))):
            # not between float operators of the host, where rounding would only lose accuracy
            self._chain(node, self._operands(node))

    def _operands(self, node: Node) -> dict:
        return {operand: self.activation for operand in node.args if isinstance(operand, Node) and _is_float(operand)
                and (operand.op != "get_attr" or (node.target in SUMS and operand.meta["val"].numel() > 1))}

    def _chain(self, node: Node, operands: dict, normalized: bool = False) -> None:
        """`node`, the normalization (in QAT) and the clamp behind it are one: quantized at their ends only."""
        last, chain = node, [node]
        if normalized:
            last = _only_user(last, NORMALIZATIONS, chain)
        if node.target not in (*UNARY, *ACTIVATIONS):
            last = _only_user(last, ACTIVATIONS, chain)
        for part in chain:
            part.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map=operands if part is node else {},
                output_qspec=self.activation if part is last else None, _annotated=True)

    def _same(self, node: Node) -> None:
        source = node.args[0]
        if not isinstance(source, Node) or source.op == "get_attr":
            return
        if not (_is_int8(source) or node.target in POOLS) or isinstance(node.meta.get("val"), list | tuple):
            return  # parts are quantized where they are used
        shared = SharedQuantizationSpec((source, node))
        operands = {source: self.activation}
        operands |= {other: shared for other in node.args[1:] if isinstance(other, Node) and _is_float(other)}
        node.meta["quantization_annotation"] = QuantizationAnnotation(operands, shared, _annotated=True)

    def _join(self, node: Node) -> None:
        first, *others = dict.fromkeys(node.args[0])
        if not any(map(_is_int8, (first, *others))):
            return
        shared = SharedQuantizationSpec((first, node))
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            {first: self.activation} | dict.fromkeys(others, shared), shared, _annotated=True)


def _spec(observer, low: int, high: int, scheme: torch.qscheme, axis: int | None = None) -> QuantizationSpec:
    # A FakeQuantize is an observer too: training sees the rounding, calibration turns it off.
    options = {} if axis is None else {"ch_axis": axis}
    return QuantizationSpec(torch.int8, FakeQuantize.with_args(observer=observer, eps=_EPS, **options), low, high,
                            scheme, axis)


def _bias(node: Node, per_channel: bool) -> DerivedQuantizationSpec:
    """int32 in steps of input scale times weight scale, what the chip adds: PyTorch's own result has it too then."""
    def derive(observers):
        (x, _), (weights, _) = (observer.calculate_qparams() for observer in observers)
        scale = (x * weights).to(torch.float32)
        return scale, torch.zeros_like(scale, dtype=torch.int32)

    scheme = torch.per_channel_symmetric if per_channel else torch.per_tensor_symmetric
    return DerivedQuantizationSpec([(node.args[0], node), (node.args[1], node)], derive, torch.int32, -(2**31),
                                   2**31 - 1, scheme, 0 if per_channel else None)


def _groups(node: Node) -> int:
    return node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)


def _annotated(node: Node) -> bool:
    return "quantization_annotation" in node.meta and node.meta["quantization_annotation"]._annotated


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(v, torch.Tensor) and v.dtype == torch.float32 for v in value)
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _is_int8(node: Node) -> bool:
    """Will the value be int8 anyway? Inputs of the module can be; results are where their operator is annotated."""
    if node.op == "placeholder":
        return True
    if node.target in SPLITS or node.target is operator.getitem:
        return _is_int8(node.args[0])
    return node.op == "call_function" and _annotated(node)


def _is_mean(node: Node) -> bool:
    if node.target is aten.adaptive_avg_pool2d.default:
        return True
    return node.target is aten.mean.dim and node.args[0].meta["val"].ndim == 4 and (
        sorted(axis % 4 for axis in node.args[1] or ()) == [2, 3])


def _is_constant(node: Node) -> bool:
    """Is the value made of the module's parameters and buffers alone?"""
    return node.op == "get_attr" or (node.op == "call_function" and bool(node.all_input_nodes)
                                     and all(map(_is_constant, node.all_input_nodes)))


def _scales_channels(node: Node) -> bool:
    """Does the node multiply int8 values by a constant for each channel, or divide them by one?"""
    if node.target not in PRODUCTS or not all(isinstance(argument, Node) for argument in node.args[:2]):
        return False
    x, factor = node.args[:2]
    shape, rank = factor.meta["val"].shape, node.meta["val"].ndim
    along = [axis + rank - len(shape) for axis, extent in enumerate(shape) if extent > 1]
    return _is_constant(factor) and _is_int8(x) and rank in (2, 3, 4) and along in ([1], [2] if rank == 3 else [1])


def _only_user(node: Node, targets: tuple, chain: list[Node]) -> Node:
    """The one user of `node` if it is one of `targets`, else `node`."""
    users = list(node.users)
    if len(users) == 1 and users[0].target in targets and users[0].args[0] is node:
        chain.append(users[0])
        return users[0]
    return node
