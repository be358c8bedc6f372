"""Images made of few pixels of another along each axis: resizes, pads that repeat pixels, picked rows and columns."""

import numpy as np
import pytest
from lepton.compiler.lowering.stencils import runs
from lepton.graph import Arithmetic, Bilinear, Reduce, Resize
from lepton.graph.ops.interpolation import Taps, exact_taps, taps_matrix

from tests.host.compiler.compiler_graphs import Builder, exact
from tests.host.compiler.compiler_moves import RESAMPLED, concat, resampled
from tests.seeds import seeds


def test_runs_cover_every_position_once():
    for source, target, corners in ((4, 8, False), (5, 15, False), (8, 16, True), (9, 4, False), (6, 9, False),
                                    (1, 7, True)):
        taps = exact_taps(source, target, corners)
        seen = {}
        for run in runs(tuple(taps)):
            for i in range(run.made.count):
                at = run.made.first + i * run.made.step
                assert at not in seen
                seen[at] = Taps(run.read.first + i * run.read.step, run.weights)
        assert [seen[at] for at in range(target)] == taps
    assert len(runs(tuple(exact_taps(20, 40, False)))) == 4  # two phases and two edges


@pytest.mark.parametrize("corners", [False, True])
def test_exact_weights_are_those_of_real_places(corners):
    torch = pytest.importorskip("torch")
    for source, target in ((3, 7), (8, 16), (7, 3), (1, 5), (6, 6)):
        pixels = torch.eye(source, dtype=torch.float64)[None, None]
        wanted = torch.nn.functional.interpolate(pixels, (source, target), mode="bilinear", align_corners=corners)
        taps = exact_taps(source, target, corners)
        made = taps_matrix(taps, source).T / np.array([t.total for t in taps])
        np.testing.assert_allclose(made, wanted[0, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize("seed", seeds(6))
@pytest.mark.parametrize("kind", RESAMPLED)
def test_random_ones(kind, seed):
    """Golden equals the host's kernel, on whole images and in pieces, at random values and at extremes."""
    random = np.random.default_rng([seed, list(RESAMPLED).index(kind)])
    b = Builder((1, *map(int, random.integers(1, 8, 2)), int(random.integers(1, 22))), seed)
    x = resampled(b, b.conv("image", int(random.integers(1, 22)), (1, 1)), kind, random)
    graph = b.done(x, b.conv(x, 5, (1, 1)), resampled(b, "image", kind, random))
    model = exact(graph, str(random.choice(["tiny", "base", "cramped4", "cramped16"])), RESAMPLED[kind])
    assert len(model.steps) == 1


def test_a_concatenation_takes_an_enlarged_image_where_it_is_written():
    b = Builder((1, 6, 6, 8), 2)
    skip = b.conv("image", 8, (1, 1))
    low = b.conv(b.max_pool(skip, kernel=(2, 2), stride=(2, 2)), 8, (3, 3), padding=((1, 1), (1, 1)))
    up = b.node(Bilinear((6, 6)), [low], (1, 6, 6, 8))
    b.graph.tensors[up].quantization = b.graph.tensors[skip].quantization
    model = exact(b.done(b.conv(concat(b, up, skip), 4, (3, 3))), "tiny", Arithmetic.TORCH)
    assert [layer.op for layer in model.layers] == ["Conv2D", "MaxPool2D", "Conv2D", "Bilinear", "Conv2D"]


def test_what_the_host_keeps():
    def reason(op, arithmetic=Arithmetic.FIXED):
        b = Builder((1, 20, 20, 3), 1)
        graph = b.done(b.node(op, ["image"], (1, *op.size, 3), same=True))
        graph.arithmetic = arithmetic
        return exact(graph, "tiny", arithmetic, None).placement[0].reason

    assert reason(Resize((60, 60), "bilinear")).startswith("its rows and columns have too many different weights: they")
    assert reason(Bilinear((40, 40), corners=True), Arithmetic.TORCH) == (
        "its rows and columns have too many different weights: they take 1600 layers, above 144")
    assert reason(Resize((40, 40), "bilinear", unsigned=True)) == "TFLite interpolates uint8 in float32"
    assert reason(Resize((40, 40), "bilinear"), Arithmetic.FLOAT) == (
        "fractions of negative results are cut off towards zero; the chip rounds down")
    assert reason(Resize((20, 23), "bilinear", "align_corners", unsigned=True, in_float=True), Arithmetic.FLOAT) == (
        "ONNX Runtime interpolates in float32 with weights that take more than 10 bits")


@pytest.mark.parametrize("arithmetic", list(Arithmetic))
@pytest.mark.parametrize("shape,axes", [((1, 5, 6, 9), (1,)), ((1, 5, 6, 9), (2,)), ((1, 17, 9), (1,)),
                                        ((1, 5, 6, 9), (1, 2))])
def test_means_over_rows_or_columns(shape, axes, arithmetic):
    b = Builder(shape, 4)
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
    graph = b.done(b.node(Reduce("mean", axes), ["image"], kept))
    exact(graph, "tiny", arithmetic)
    exact(graph, "cramped4", arithmetic)
