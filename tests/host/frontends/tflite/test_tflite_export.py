import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lepton.frontends import export_tflite, import_tflite
from lepton.graph import AveragePool2D, Conv2D, GraphError, MaxPool2D, Node

from tests.host.frontends.frontend_graphs import Builder, difference, every_operator, run_litert

DATA = Path(__file__).parents[5] / "shared/data"


def images(shape=(9, 8, 3), count=4) -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 128, (count, *shape), dtype=np.int8)


def test_round_trip_keeps_every_operator():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert difference(every_operator(), import_tflite(export_tflite(every_operator()))) == ""


def test_export_is_deterministic():
    assert export_tflite(every_operator()) == export_tflite(every_operator())


def test_litert_runs_every_operator():
    outputs = run_litert(export_tflite(every_operator()), images())
    assert [o.shape for o in outputs] == [(4, 6), (4, 6), (4, 1, 1, 16)]
    assert all(len(np.unique(o)) > 5 for o in outputs)


@pytest.mark.parametrize("name", ["ic/resnet8_int8.tflite", "kws/kws_ref_model.tflite"])
def test_real_networks_compute_the_same_after_import_and_export(name):
    if not (DATA / name).is_file():
        pytest.skip(f"../shared/data/{name} is absent")
    graph = import_tflite(DATA / name)
    exported = export_tflite(graph)
    assert difference(graph, import_tflite(exported)) == ""
    x = images(graph.tensors[graph.inputs[0]].shape[1:], 3)
    assert np.array_equal(run_litert((DATA / name).read_bytes(), x)[0], run_litert(exported, x)[0])


def convolution(bias=True, **fields):
    b = Builder()
    b.node("conv", Conv2D(**fields), b.weights("image", "conv", (4, 3, 3, 3), 0, bias=bias), (1, 5, 4, 4), 0.05, 10)
    return b.done()


@pytest.mark.parametrize("padding", [((2, 0), (1, 1)), ((1, 1), (1, 0)), ((1, 1), (0, 1))])  # PAD, PAD, SAME
def test_padding_is_what_litert_computes(padding):
    """Against a convolution written here in plain numpy; one LSB for the float rounding."""
    graph = convolution(stride=(2, 2), padding=padding)
    x, w, bias = (graph.tensors[n] for n in graph.nodes[0].inputs)
    image = images(count=1)
    real = np.pad(image[0].astype(float) - x.quantization.zero_point[0], (*padding, (0, 0)))
    out = np.empty((5, 4, 4))
    for i, j in np.ndindex(5, 4):
        window = real[2 * i:2 * i + 3, 2 * j:2 * j + 3]
        out[i, j] = np.tensordot(w.data.astype(float), window, 3) + bias.data
    scale = x.quantization.scale[0] * w.quantization.scale / graph.tensors["conv"].quantization.scale[0]
    expected = np.clip(np.round(out * scale) + 10, -128, 127)
    got = run_litert(export_tflite(graph), image)[0][0]
    assert np.abs(got - expected).max() <= 1 and len(np.unique(got)) > 20


def test_convolution_without_bias_gets_zeros():
    graph = convolution(bias=False, stride=(2, 2), padding=((1, 1), (0, 1)))
    back = import_tflite(export_tflite(graph))
    bias = back.tensors[back.nodes[0].inputs[2]]
    assert bias.data.dtype == np.int32 and bias.data.tolist() == [0, 0, 0, 0]
    assert run_litert(export_tflite(graph), images())[0].shape == (4, 5, 4, 4)


@pytest.mark.parametrize("kind", [MaxPool2D, AveragePool2D])
def test_padding_of_a_pooling_that_tflite_lacks_is_refused(kind):
    b = Builder()
    b.node("pool", kind((3, 3), (2, 2), ((1, 1), (1, 1))), ["image"], (1, 5, 4, 3), 0.02, -3)
    with pytest.raises(GraphError, match=r"2D 'pool': TFLite cannot express the padding \(\(1, 1\), \(1, 1\)\) of a "
                       r"pooling; it must be \(\(0, 0\), \(0, 0\)\) \(VALID\) or \(\(1, 1\), \(0, 1\)\) \(SAME\)"):
        export_tflite(b.done())


def test_clamp_that_is_no_activation_is_refused():
    graph = convolution(stride=(2, 2), padding=((1, 1), (0, 1)), clamp=(-100, 100))
    with pytest.raises(GraphError, match=r"Conv2D 'conv': the clamp range \(-100, 100\) is none of the activations"):
        export_tflite(graph)


def broken(name: str, **fields):
    graph = every_operator()
    node = next(n for n in graph.nodes if n.name == name)
    for key, value in fields.items():
        setattr(node, key, value)
    return graph


@pytest.mark.parametrize(("graph", "text"), [
    (lambda: broken("add", inputs=["depthwise"]), "Add 'add': must have 2 inputs and 1 output, not 1 and 1"),
    (lambda: broken("add", inputs=["depthwise", "nothing"]),
     "Add 'add': tensor 'nothing' is not in the graph"),
    (lambda: broken("add", inputs=["depthwise", "same"]),
     r"shapes \(1, 5, 4, 16\) and \(1, 9, 8, 8\) do not broadcast"),
    (lambda: broken("same", inputs=["probabilities", "same.weight", "same.bias"]),
     "input 'probabilities' is used before anything produces it"),
    (lambda: broken("max", outputs=["add"]), "'add' is produced twice"),
    (lambda: broken("max", op=MaxPool2D((2, 2), (1, 1), ((0, 2), (0, 1)))), "must be less than the kernel"),
    (lambda: broken("max", op=MaxPool2D((2, 2), (0, 1))), "stride must be in 1..65535"),
    (lambda: broken("same", op=Conv2D(padding=((1, 1), (1, 1)), clamp=(5, 4))),
     r"the clamp range must lie in -128..127 and not be empty, not \(5, 4\)"),
    (lambda: broken("dilated", op=Conv2D(dilation=(5, 1), groups=2)),
     r"the kernel \(2, 2\) with dilation \(5, 1\) does not fit the image"),
    (lambda: broken("dilated", op=Conv2D(dilation=(2, 1), groups=3)), "in 3 groups do not fit 16 input channels"),
    (lambda: broken("same", inputs=["image", "odd.bias", "same.bias"]),
     r"weights 'odd.bias' must have 4 dimensions of at least 1, not shape \(16,\)"),
    (lambda: broken("same", inputs=["image", "same.weight", "odd.bias"]),
     r"bias 'odd.bias' must have 8 int32 values, not int32 of shape \(16,\)"),
])
def test_graphs_that_are_not_well_formed_are_refused(graph, text):
    with pytest.raises(GraphError, match=text):
        export_tflite(graph())


def test_unknown_operators_are_refused():
    graph = every_operator()
    graph.nodes.append(Node(object(), ["add"], ["more"], "more"))
    with pytest.raises(GraphError, match=r"object 'more': the exporter writes Conv2D, DepthwiseConv2D, .*, not object"):
        export_tflite(graph)


def test_outputs_must_be_computed():
    graph = every_operator()
    graph.outputs = ["same.weight"]
    with pytest.raises(GraphError, match=r"nothing produces output 'same\.weight'"):
        export_tflite(graph)


def test_replaced_shape_is_found():
    graph = every_operator()
    graph.tensors["same"] = replace(graph.tensors["same"], shape=(1, 9, 8, 9))
    with pytest.raises(GraphError, match=r"'same' must have shape \(1, 9, 8, 8\), not \(1, 9, 8, 9\)"):
        export_tflite(graph)
