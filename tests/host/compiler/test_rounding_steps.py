"""Sums around every step of an output, where the last bit of a multiplier and the rounding of halves show.

The sums are the biases: the input is its zero point.
"""

import lepton.device
import numpy as np
import pytest
from lepton.arch import Rounding
from lepton.compiler import compile_graph
from lepton.compiler.rounding import exact, fully_connected, rounded
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.runtime import Session

pytest.importorskip("ai_edge_litert")
from tests.litert_models import Tensor, build, reference

STEPS = np.arange(-127, 127)
SCALES = {  # of input, weights and output
    "power of two": (2.0**-10, 2.0**-10, 1.0),  # every step is a tie
    "third": (0.25, 0.125, 3 * 2.0**14), "random": (0.0371, 0.00713, 41.7), "coarse": (0.071, 0.0093, 0.11),
}


def model(kind: str, dtype, per_channel: bool, scales) -> tuple[bytes, np.ndarray]:
    """A layer of one input whose biases are the sums around the steps, and that input."""
    scale_x, scale_w, scale_y = map(np.float32, scales)
    real = float(scale_x) * float(scale_w) / float(scale_y)
    sums = np.floor((STEPS + 0.5) / real).astype(np.int64)[:, None] + np.arange(-1, 3)
    bias = sums.ravel().astype(np.int32)
    count = len(bias)
    zero = 0 if dtype == np.int8 else 128
    channels = count if kind == "DEPTHWISE_CONV_2D" else 1
    image = () if kind == "FULLY_CONNECTED" else (1, 1)
    x = Tensor(scale_x, zero, shape=(1, *image, channels), dtype=dtype)
    shape = (1, 1, 1, count) if channels > 1 else (count, *image, 1)
    w = Tensor(np.full(count if per_channel else 1, scale_w), zero, data=np.full(shape, zero + 1, dtype),
               axis=shape.index(count))
    options = {} if not image else {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
                                    "DilationWFactor": 1}
    if channels > 1:
        options["DepthMultiplier"] = 1
    name = {"FULLY_CONNECTED": "FullyConnectedOptions", "CONV_2D": "Conv2DOptions"}.get(kind, "DepthwiseConv2DOptions")
    version = 1 if dtype == np.uint8 else 4 if not image else 3
    y = Tensor(scale_y, zero, shape=(1, *image, count), dtype=dtype)
    made = build(kind, [x, w, Tensor(w.scale * scale_x, data=bias)], y, version, name, **options)
    return made, np.full(x.shape, zero, dtype)


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize(("kind", "dtype", "per_channel"), [
    ("FULLY_CONNECTED", np.int8, False), ("FULLY_CONNECTED", np.int8, True), ("FULLY_CONNECTED", np.uint8, False),
    ("CONV_2D", np.int8, True), ("CONV_2D", np.uint8, False), ("DEPTHWISE_CONV_2D", np.uint8, False),
])
def test_every_step_is_litert_s(kind, dtype, per_channel, scales):
    made, x = model(kind, dtype, per_channel, SCALES[scales])
    graph = import_tflite(made)
    compiled = compile_graph(graph, "base")
    with lepton.device.open("golden", config="base") as device, Session(compiled, device) as session:
        got = session.run(x).outputs[graph.outputs[0]]
    np.testing.assert_array_equal(got, reference(made, x))


def test_halves_that_only_two_roundings_get_right():
    scale = 2.0**-20
    assert set(exact(scale, 1 << 27)) == {Rounding.DOUBLE}
    assert rounded(np.array([-(3 << 19), -(1 << 19), 1 << 19, 3 << 19]), scale).tolist() == [-2, -1, 1, 2]
    found, multiplier, left, right = fully_connected(np.array([scale, scale]), np.array([5, 1 << 27]), "fc")
    assert found == Rounding.DOUBLE and len(set(multiplier)) == len(set(left - right)) == 1
    # one channel needs two roundings, the sums of the other are too large for them
    with pytest.raises(GraphError, match="fc: TFLite rounds its sums in double; with these scales no multiplier"):
        fully_connected(np.array([scale, 0.3]), np.array([1 << 27, 2**31]), "fc")
