"""Networks of known shape with fixed random int8 weights, for measurements of speed, which does not depend on weights.

    graph = lepton.models.topologies.build("resnet50")
    image = lepton.models.topologies.random_inputs(graph)

All end at the logits: a softmax would run on the host. `gemm_MxKxN` and `conv_KxK_HxWxC_N` are single layers of
any size.
"""

import re
from functools import partial

import numpy as np

from lepton.graph import Graph

from .gated import efficientnet_b0, efficientnet_lite0, mobilenet_v3_large, mobilenet_v3_small
from .layers import conv, gemm
from .mlperf_tiny import anomaly_detection, image_classification, keyword_spotting, visual_wake_words
from .mobilenet import mobilenet_v1, mobilenet_v2
from .resnet import resnet18, resnet50

NETWORKS = {
    "resnet18": resnet18, "resnet50": resnet50, "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2,
    "tiny_ic": image_classification, "tiny_kws": keyword_spotting, "tiny_vww": visual_wake_words,
    "tiny_ad": anomaly_detection, "mobilenet_v3_large": mobilenet_v3_large, "mobilenet_v3_small": mobilenet_v3_small,
    "efficientnet_b0": efficientnet_b0, "efficientnet_lite0": efficientnet_lite0,
}
_GEMM = re.compile(r"gemm_(\d+)x(\d+)x(\d+)")
_CONV = re.compile(r"conv_(\d+)x(\d+)_(\d+)x(\d+)x(\d+)_(\d+)")


def build(name: str) -> Graph:
    """The graph of a network or a layer; the same weights every time. Raises ValueError for an unknown name."""
    return _builder(name)()


def check(name: str) -> None:
    """Raise ValueError for a name that `build` does not know."""
    _builder(name)


def _builder(name: str):
    if name in NETWORKS:
        return NETWORKS[name]
    numbers = [int(n) for n in re.findall(r"\d+", name)]
    if _GEMM.fullmatch(name) and min(numbers) > 0:
        return partial(gemm, *numbers)
    if _CONV.fullmatch(name) and min(numbers) > 0 and numbers[0] == numbers[1]:
        return partial(conv, numbers[0], *numbers[2:])
    raise ValueError(f"topology must be one of {', '.join(NETWORKS)}, gemm_MxKxN, or conv_KxK_HxWxC_N, not {name!r}")


def random_inputs(graph: Graph, seed: int = 1) -> dict[str, np.ndarray]:
    """int8 or uint8 values spread evenly over their range, by input name."""
    random = np.random.default_rng(seed)
    tensors = [graph.tensors[name] for name in graph.caller_inputs]
    return {t.name: random.integers(-128, 128, t.shape, np.int8).view(t.dtype) for t in tensors}


def count_macs(graph: Graph) -> int:
    """Multiply-accumulates of the layers with weights, without those that padding to lanes adds."""
    return sum(node.op.macs(graph.signature(node)) for node in graph.nodes)
