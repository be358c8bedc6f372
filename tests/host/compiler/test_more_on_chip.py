"""What the chip computes in ways of its own: wide weights, differences, paddings, cuts, averages of every kind.

Golden against the host's kernels, which are the frameworks' (`tests/system/test_frameworks.py`).
"""

import numpy as np
import pytest
from lepton.compiler.averaging import float_averages, unsigned_average
from lepton.compiler.tiling import Tiling
from lepton.graph import Arithmetic, AveragePool2D, GraphError, Pad, Reduce, Slice, Sub

from tests.host.compiler.compiler_graphs import CONFIGS, Builder, exact, quantization
from tests.host.compiler.compiler_moves import take, transposed


def wide(b, *names, zero=-120):
    """Weights with a zero point, so that they need more than 8 bits."""
    for name in names:
        weights = b.graph.tensors[b.graph.nodes[int(name[1:])].inputs[1]]
        weights.quantization = quantization(weights.quantization.scale[0], zero)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("zero", [-120, -128, 127, 5])
def test_weights_of_nine_bits(config, zero):
    b = Builder((1, 7, 6, 19), 2)
    x = b.conv("image", 21, (3, 3), padding=((1, 1), (1, 1)))
    y = b.depthwise(x, (3, 3), padding=((1, 1), (1, 1)))
    z = b.depthwise(y, (2, 3), multiplier=2)
    wide(b, x, y, z, zero=zero)
    d = b.dense(b.mean(z), 33)
    t = transposed(b, "image", 5, (3, 3), (2, 2))
    wide(b, d, t, zero=zero)
    exact(b.done(z, d, t), config)


def test_few_wide_weights_cost_few_passes():
    """Only the parts with a weight that 8 bits do not hold are walked twice."""
    b = Builder((1, 6, 6, 32), 4)
    x = b.conv("image", 48, (1, 1))
    weights = b.graph.tensors["w0"]
    weights.data = np.clip(weights.data, -100, 100)
    weights.quantization = quantization(weights.quantization.scale[0], 3)
    plain = exact(b.done(x), "base")
    weights.data[20, 0, 0, 7] = -128
    made = exact(b.done(x), "base")
    commands = [sum(stream.count for stream in m.steps[0].streams.values()) for m in (plain, made)]
    assert commands[0] < commands[1] <= commands[0] + 8
    weights.data[40, 0, 0, 9] = 127  # 255 is 127 + 127 + 1
    weights.quantization = quantization(0.01, -128)
    exact(b.done(x), "base")


def test_planes_add_up_to_the_weights(monkeypatch):
    seen = {}
    monkeypatch.setattr(Tiling, "boxes", property(lambda self, boxes=Tiling.boxes.func: seen.setdefault(
        self.layer.index, (self.layer, boxes(self)))[1]))
    b = Builder((1, 4, 4, 40), 4)
    wide(b, b.conv("image", 7, (3, 3)), zero=-128)
    exact(b.done(), "tiny")
    layer, boxes = seen[0]
    assert layer.planes == 3
    for ob, some in enumerate(boxes):
        total = np.zeros(layer.weights[ob].shape, int)
        for box in some:
            part = np.frombuffer(layer.box_weights(ob, box), np.int8).astype(int)
            at = tuple(slice(*span) for span in (box.blocks, box.rows, box.columns))
            total[at] += part.reshape(total[at].shape)
        np.testing.assert_array_equal(total, layer.weights[ob])


def difference(b, a, c, shape=None):
    name = b.node(Sub(clamp=(-100, 127)), [a, c], shape or b.shape(a))
    scale = max(b.graph.tensors[n].quantization.scale[0] for n in (a, c))
    b.graph.tensors[name].quantization = quantization(scale * 1.1, 9)
    return name


def chain(seed):
    b = Builder((1, 5, 6, 21), seed)
    x = b.conv("image", 21, (1, 1))
    y = difference(b, x, "image")  # the layer's own value is what something is taken from
    z = difference(b, "image", b.conv(y, 21, (1, 1)))  # and what is taken away
    return b.done(difference(b, y, z), y)


@pytest.mark.parametrize("config", CONFIGS)
def test_differences(config):
    for seed in range(3):
        model = exact(chain(seed), config)
        assert [layer.op for layer in model.layers] == ["Conv2D+Sub", "Conv2D+Sub", "Sub"]


def test_differences_in_float32():
    """Where integers give the framework's results, as they nearly always do."""
    models = [exact(chain(seed), arithmetic=Arithmetic.FLOAT, on_host=None) for seed in range(12)]
    rows = [row for model in models for row in model.placement if row.op == "Sub"]
    assert sum(row.where == "chip" for row in rows) >= 32 and all(
        row.reason.endswith("no integers give the results that the framework gives")
        for row in rows if row.where == "host")


def padding(b, x, *widths, value=7):
    shape = [n + before + after for n, (before, after) in zip(b.shape(x), widths, strict=True)]
    return b.node(Pad(widths, value), [x], shape, same=True)


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("config", CONFIGS)
def test_paddings(config, arithmetic):
    none = (0, 0)
    b = Builder((1, 5, 6, 19), 1)
    x = b.conv("image", 21, (1, 1))
    pixels = padding(b, x, none, (2, 1), (0, 3), none)
    channels = padding(b, pixels, none, none, none, (5, 17), value=-128)
    both = padding(b, take(b, x, 3, 14, 2), none, (1, 0), (0, 1), (1, 2), value=127)
    exact(b.done(channels, both, padding(b, "image", none, (0, 9), (4, 0), (0, 16))), config, arithmetic)


def test_paddings_that_stay_on_the_host():
    b = Builder((6, 5), 1)
    model = exact(b.done(padding(b, "image", (1, 2), (0, 0))), on_host=["Pad"])
    assert model.placement[0].reason == "it pads another axis than the channels, rows and columns of one image"


def cut(b, x, begin, end, step):
    shape = [len(range(*axis)) for axis in zip(begin, end, step, strict=True)]
    return b.node(Slice(tuple(begin), tuple(end), tuple(step)), [x], shape, same=True)


@pytest.mark.parametrize("config", CONFIGS)
def test_cuts(config):
    """Every second pixel, as ResNets of CIFAR-10 shorten their shortcuts; and a rectangle."""
    b = Builder((1, 9, 8, 19), 1)
    x = b.conv("image", 19, (1, 1))
    half = cut(b, x, (0, 0, 0, 0), (1, 9, 8, 19), (1, 2, 2, 1))
    some = cut(b, "image", (0, 3, 1, 0), (1, 8, 7, 19), (1, 1, 3, 1))
    exact(b.done(b.add(half, b.conv(x, 19, (1, 1), stride=(2, 2))), some), config)
    b = Builder((1, 9, 8, 19), 1)
    model = exact(b.done(cut(b, "image", (0, 3, 0, 2), (1, 8, 8, 9), (1, 1, 1, 1))), config, on_host=["Slice"])
    assert model.placement[0].reason == "it cuts both pixels and channels"


def averaged(kernel, zeros=(0, 0), scales=(0.05, 0.05), **options):
    b = Builder((1, 7, 8, 5), 3)
    b.graph.tensors["image"].quantization = quantization(scales[0], zeros[0])
    x = b.average_pool("image", kernel=kernel, stride=(2, 1), **options)
    b.graph.tensors[x].quantization = quantization(scales[1], zeros[1])
    return b.done(x)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 2), (3, 3), (5, 4)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((0, 1), (0, 1))])
def test_averages_of_uint8_have_their_ties_up(kernel, padding):
    exact(averaged(kernel, (-3, -3), padding=padding if min(kernel) > 1 else ((0, 0), (0, 0)), unsigned=True))


@pytest.mark.parametrize("how", [{}, {"unsigned": True}, {"arithmetic": Arithmetic.TORCH}], ids=str)
@pytest.mark.parametrize("zero", [0, 3, -128, 127, -55])
@pytest.mark.parametrize("kernel,scales", [((2, 2), (0.0625, 0.0625)), ((4, 2), (0.25, 0.5)), ((3, 3), (0.0625, 0.125)),
                                           ((3, 3), (0.0371, 0.0371)), ((2, 1), (0.5, 0.0625)), ((1, 3), (0.7, 0.9))])
def test_averages_in_float32(kernel, scales, zero, how):
    """Ties too: ONNX Runtime adds the zero point before it rounds, so where it is odd they go the other way."""
    how = {"arithmetic": Arithmetic.FLOAT} | how
    arithmetic = how.pop("arithmetic")
    exact(averaged(kernel, (5, zero), scales, **how), arithmetic=arithmetic)


def test_padding_that_counts():
    graph = averaged((3, 3), (5, -7), padding=((1, 1), (1, 1)), count_padding=True)
    exact(graph, arithmetic=Arithmetic.FLOAT)


def test_averages_that_depend_on_the_order_stay_on_the_host():
    model = exact(averaged((2, 2), scales=(0.0371, 0.0371)), arithmetic=Arithmetic.FLOAT, on_host=["AveragePool2D"])
    assert "averages over 4 values depend on how float32 rounds sums" in model.placement[0].reason


def test_every_size_of_window():
    for count in [*range(1, 400), 1024, 2401, 8192]:
        bias, multiplier, left, right = unsigned_average(count)
        assert bias == 128 * count and 0 < multiplier < 1 << 31 and left <= 31 and right <= 31
    with pytest.raises(GraphError, match="an average over 8193 values has no exact multiplier"):
        unsigned_average(8193)
    with pytest.raises(GraphError, match="averages over 9 and 8193 values depend on how float32 rounds sums"):
        float_averages((0.5, 0), (0.5, 0), [9, 8193], AveragePool2D(), Arithmetic.FLOAT)




@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(1, 2), (1,), (-2,), (2, 1)])
def test_maxima_over_rows_and_columns(axes, keep, arithmetic):
    b = Builder((1, 7, 9, 6), 3)
    x = b.conv("image", 21)
    shape = [1 if axis in [a % 4 for a in axes] else n for axis, n in enumerate(b.shape(x))]
    kept = shape if keep else [n for axis, n in enumerate(shape) if axis not in [a % 4 for a in axes]]
    y = b.node(Reduce("max", axes, keep), [x], kept, same=True)
    z = b.dense(y, 8) if len(axes) == 2 else y
    exact(b.done(z), "tiny", arithmetic)
    exact(b.done(y), "cramped16", arithmetic)
