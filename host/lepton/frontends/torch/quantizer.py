"""`LeptonQuantizer`: which values of an exported module become int8, in the terms of torchao's PT2E."""

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)

from ..recurrent import Range
from .annotated import (
    annotated,
    float_states,
    is_float,
    is_int8,
    is_mean,
    is_product,
    moves,
    multiplies_matrices,
    only_user,
    quantizes_constants,
    reduces_rows,
    scales_by_a_number,
    scales_channels,
)
from .functional import functional
from .grids import ProbabilityObserver, ScoresObserver, bias_spec, mask_spec, masked_scores, spec
from .masks import SOFTMAX, only_scored
from .nodes import Arguments
from .observers import OBSERVERS
from .operators import MATRIX_PRODUCTS, SAME_GRID, WITH_WEIGHTS, Kind, kind
from .recurrent import RANGE

RANGES = ("minmax", "moving_average", "histogram")

# Operators that are int8 where an operand is: between float operators of the host, rounding would only lose accuracy.
_WHERE_INT8 = (Kind.SUM, Kind.FUNCTION, Kind.CLAMP, Kind.NORMALIZATION, Kind.BILINEAR)


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
        self.activation = spec(observers[ranges], -128, 127, torch.per_tensor_affine)
        # Without a zero point, which costs a product of two tensors as many passes again.
        self.factor = spec(observers[ranges], -128, 127, torch.per_tensor_symmetric)
        self.probabilities = spec(ProbabilityObserver, -128, 127, torch.per_tensor_affine)
        # Symmetric without -128, as in the 8-bit quantization specification of TensorFlow Lite.
        self.per_channel = {axis: spec(PerChannelMinMaxObserver, -127, 127, torch.per_channel_symmetric, axis)
                            for axis in (0, 1)}
        self.per_tensor = spec(MinMaxObserver, -127, 127, torch.per_tensor_symmetric)
        self.scores = spec(ScoresObserver, -128, 127, torch.per_tensor_affine)
        self.per_channel_linear = per_channel_linear
        self.shared = {scale: spec(observer, -128, 127, torch.per_tensor_affine)
                       for scale, observer in OBSERVERS.items()}
        self._first: dict[str, Node | tuple[Node, Node]] = {}  # of the values with a `Range`, by its name
        self._states: dict[Node, QuantizationSpec] = {}  # inputs that are states, and what they become
        self._kept: set[Node] = set()  # the latter

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        return functional(model, gradients=True)

    def annotate(self, model: GraphModule) -> GraphModule:
        """Marks every operator that can be computed in int8; others stay float, and run on the host."""
        self._first = {}
        states = float_states(model)
        self._kept = {after for _, after in states}
        self._states = {}
        for before, after in states:
            self._states[before] = self._states[after] = self.factor if self._only_multiplied(before) else (
                self.activation)
            before.meta["quantization_annotation"] = QuantizationAnnotation({}, self._states[before], _annotated=True)
        for node in model.graph.nodes:
            if node.op == "call_function" and not annotated(node) and is_float(node):
                self._annotate(node)
        for before, after in states:
            known = after.meta.get("quantization_annotation") or QuantizationAnnotation({}, None, _annotated=True)
            if isinstance(known.output_qspec, QuantizationSpec):
                before.meta["quantization_annotation"].output_qspec = known.output_qspec
            # One grid, in which a value that is kept stays the same.
            known.output_qspec = SharedQuantizationSpec(before)
            after.meta["quantization_annotation"] = known
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: what cannot be int8 stays float."""

    def _annotate(self, node: Node) -> None:
        if kind(node) in WITH_WEIGHTS:
            self._layer(node)
        elif kind(node) is Kind.JOIN:
            self._join(node)
        elif kind(node) in SAME_GRID:
            self._same(node)
        elif multiplies_matrices(node) or reduces_rows(node):
            self._scaled(node)
        elif kind(node) is Kind.SUM and (parts := masked_scores(node)) is not None:
            scores, mask = parts
            self._chain(node, {scores: self._grid(scores), mask: mask_spec(node, *parts, node.graph.owning_module)})
        elif is_mean(node) or scales_channels(node) or is_product(node) or (
                (kind(node) in _WHERE_INT8 or scales_by_a_number(node)) and any(map(is_int8, self._operands(node)))):
            self._chain(node, self._operands(node))

    def _layer(self, node: Node) -> None:
        arguments = Arguments(node)
        weights = self.per_tensor
        if kind(node) is Kind.TRANSPOSED:
            # PyTorch has the weights of groups along one axis: there is no axis of output channels.
            weights = self.per_channel[1] if arguments.integer("groups") == 1 else self.per_tensor
        elif kind(node) is Kind.CONVOLUTION or self.per_channel_linear:
            weights = self.per_channel[0]
        source = arguments.operand(0)
        operands: dict[Node, QuantizationSpecBase] = {source: self._read(source, node), arguments.operand(1): weights}
        bias = arguments.optional_node("bias")
        if bias is not None:
            operands[bias] = bias_spec(node, weights.qscheme == torch.per_channel_symmetric)
        self._chain(node, operands, normalized=True)

    def _scaled(self, node: Node) -> None:
        """A product of matrices, a softmax or a normalization: with the numbers that its result is multiplied by."""
        operands = {operand: self._grid(operand) for operand in node.args[:2] if isinstance(operand, Node)
                    and operand.op != "get_attr"}
        chain = [node]
        while multiplies_matrices(node) and len(chain[-1].users) == 1:
            (user,) = chain[-1].users
            if not scales_by_a_number(user):
                break
            chain.append(user)
        for part in chain:
            part.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map=operands if part is node else {},
                output_qspec=self._grid(part) if part is chain[-1] else None, _annotated=True)

    def _grid(self, node: Node) -> QuantizationSpec:
        """How a value is quantized: symmetrically where it is a layer's that is only a factor of products, and without
        what a softmax makes 0 where that is all that reads it."""
        if only_scored(node):
            return self.scores
        if node.target in SOFTMAX and self._only_multiplied(node):
            return self.probabilities
        while moves(node):
            node = Arguments(node).operand()
        if node in self._states:
            return self._states[node]
        return self.factor if kind(node) in WITH_WEIGHTS and self._only_multiplied(node) else self.activation

    def _only_multiplied(self, node: Node) -> bool:
        """Whether a value, moved or not, is an operand of products of matrices and of nothing else; a state, and what
        becomes a part of one, likewise."""
        moved = [user for user in node.users if user.target not in MATRIX_PRODUCTS
                 and not (user.op == "output" and node in self._kept)]
        return bool(node.users) and all(
            (moves(user) or (user in self._kept and kind(user) in (Kind.JOIN, Kind.WRITE)))
            and self._only_multiplied(user) for user in moved)

    def _within(self, range_: Range, place: Node | tuple[Node, Node]) -> QuantizationSpecBase:
        """How the values of a range are quantized at `place`: all as the first of them."""
        first = self._first.setdefault(range_.name, place)
        return self.shared[range_.scale] if first is place else SharedQuantizationSpec(first)

    def _read(self, operand: Node, node: Node) -> QuantizationSpecBase:
        """How `node` reads an operand: an input of the module may have a range, others have their operator's."""
        if RANGE in operand.meta and not annotated(operand):
            return self._within(operand.meta[RANGE], (operand, node))
        return self.activation

    def _operands(self, node: Node) -> dict[Node, QuantizationSpecBase]:
        return {operand: self._read(operand, node) for operand in node.args
                if isinstance(operand, Node) and is_float(operand)
                and (operand.op != "get_attr" or (quantizes_constants(node) and operand.meta["val"].numel() > 1))}

    def _chain(self, node: Node, operands: dict[Node, QuantizationSpecBase], normalized: bool = False) -> None:
        """`node`, the normalization (in QAT) and the clamp behind it are one: quantized at their ends only."""
        last = node
        chain = [node]
        if normalized:
            last = only_user(last, Kind.NORMALIZATION, chain)
        if kind(node) not in (Kind.FUNCTION, Kind.CLAMP):
            last = only_user(last, Kind.CLAMP, chain)
        result = self._within(last.meta[RANGE], last) if RANGE in last.meta else self._grid(node)
        for part in chain:
            part.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map=operands if part is node else {},
                output_qspec=result if part is last else None, _annotated=True)

    def _same(self, node: Node) -> None:
        source = node.args[0]
        if not isinstance(source, Node) or source.op == "get_attr":
            return
        pools = kind(node) in (Kind.POOL, Kind.ADAPTIVE_POOL)
        if not (is_int8(source) or pools) or isinstance(node.meta.get("val"), list | tuple):
            return  # parts are quantized where they are used
        shared = SharedQuantizationSpec((source, node))
        entering = self._within(node.meta[RANGE], (source, node)) if RANGE in node.meta and not annotated(
            source) else self._grid(source)
        operands: dict[Node, QuantizationSpecBase] = {source: entering}
        operands |= {other: shared for other in node.args[1:]
                     if isinstance(other, Node) and other is not source and is_float(other)}
        node.meta["quantization_annotation"] = QuantizationAnnotation(operands, shared, _annotated=True)

    def _join(self, node: Node) -> None:
        first, *others = dict.fromkeys(Arguments(node).nodes("tensors"))
        if not any(map(is_int8, (first, *others))):
            return
        shared = SharedQuantizationSpec((first, node))
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            {first: self._grid(first) if node in self._states else self.activation} | dict.fromkeys(others, shared),
            shared, _annotated=True)
