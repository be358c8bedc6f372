"""PT2E's conversion of a calibrated or trained module to int8."""

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

from .failures import named
from .functional import STATES, states_of
from .nodes import Arguments
from .operators import WITH_WEIGHTS, Kind, kind
from .qdq import DEQUANTIZE, DEQUANTIZE_CHANNELS

# What training puts between a layer and its normalization: weights are scaled before, sums divided and the bias added
# behind (torchao.quantization.pt2e.qat_utils).
_OF_TRAINING = (torch.ops.aten.div.Tensor, torch.ops.aten.add.Tensor, torch.ops.aten.reshape.default,
                torch.ops.aten.view.default)


def converted(prepared: GraphModule) -> GraphModule:
    """What convert_pt2e makes of a calibrated or trained module, its biases whole numbers of steps.

    convert_pt2e searches every graph that has a normalization for 96 patterns of training, which it traces first
    (about a minute). Normalizations that no convolution or linear layer precedes match none of them, so they have
    another name meanwhile.
    """
    alone = [node for node in prepared.graph.nodes if kind(node) is Kind.NORMALIZATION and not _follows_a_layer(node)]
    for node in alone:
        node.target = torch.ops.aten.batch_norm
    with named("convert the module to int8"):
        made = convert_pt2e(prepared)
    made.meta[STATES] = states_of(prepared)
    for node in made.graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.batch_norm:
            node.target = torch.ops.aten.batch_norm.default
    made.recompile()
    return _with_integer_biases(made)


def _follows_a_layer(node: Node) -> bool:
    """Whether training has kept a normalization and the layer before it apart: PT2E puts a division between them."""
    source = node.args[0]
    while isinstance(source, Node) and source.op == "call_function" and kind(source) not in WITH_WEIGHTS:
        if source.target not in _OF_TRAINING:
            return False
        source = source.args[0]
    return isinstance(source, Node) and source.op == "call_function"


def _with_integer_biases(module: GraphModule) -> GraphModule:
    """Rounds the biases that folding a trained normalization made, to steps of input scale times weight scale.

    Others were quantized with the rest of the network.
    """
    for node in module.graph.nodes:
        bias = Arguments(node).optional_node("bias") if kind(node) in (Kind.CONVOLUTION, Kind.LINEAR) else None
        if bias is None or bias.op != "get_attr":
            continue
        scales = [_scale(module, operand) for operand in node.args[:2]]
        if scales[0] is not None and scales[1] is not None:
            step = scales[0] * scales[1]
            values = _attribute(module, str(bias.target))
            with torch.no_grad():
                values.copy_(torch.round(values / step) * step)
    return module


def _scale(module: GraphModule, node: object) -> torch.Tensor | None:
    """The scale or scales of a dequantize node, None for others."""
    if not isinstance(node, Node) or node.target not in (*DEQUANTIZE, *DEQUANTIZE_CHANNELS):
        return None
    scale = node.args[1]
    return _attribute(module, str(scale.target)) if isinstance(scale, Node) else torch.as_tensor(scale)


def _attribute(module: torch.nn.Module, path: str) -> torch.Tensor:
    """A parameter or buffer by its path."""
    prefix, _, name = path.rpartition(".")
    value = getattr(module.get_submodule(prefix), name)
    assert isinstance(value, torch.Tensor), path
    return value
