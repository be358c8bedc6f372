import subprocess
import sys

import numpy as np
import pytest
from lepton import models
from lepton.graph import Add, AveragePool2D, Conv2D, FullyConnected, MaxPool2D


@pytest.fixture(scope="module")
def mnist() -> models.LeptonModel:
    return models.load("mnist")


def test_samples(mnist):
    assert mnist.images.shape == (100, 28, 28) and mnist.images.dtype == np.uint8
    assert mnist.inputs.shape == (100, 28, 28, 1) and mnist.inputs.dtype == np.int8
    assert np.array_equal(mnist.inputs[..., 0].astype(int) + 128, mnist.images)
    assert mnist.outputs.shape == (100, 10) and mnist.outputs.dtype == np.int8
    assert mnist.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]  # of the test set, in its order
    assert set(mnist.labels) == set(range(10))


def test_accuracy_on_the_samples(mnist):
    assert mnist.accuracy(mnist.outputs) >= 0.98
    assert mnist.accuracy(np.zeros_like(mnist.outputs)) == (mnist.labels == 0).mean()


def test_accuracy_wants_all_outputs(mnist):
    with pytest.raises(ValueError, match=r"outputs must have the shape \(100, 10\), not \(3, 10\)"):
        mnist.accuracy(mnist.outputs[:3])


def test_unknown_model():
    with pytest.raises(ValueError, match=r"model must be one of .*digits, .*mnist, .*not 'resnet'"):
        models.load("resnet")


@pytest.mark.parametrize("images", [np.zeros((28, 28), np.uint8), np.zeros((1, 28, 28), np.float32)])
def test_images_of_another_kind_are_refused(images):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, height, width\), not"):
        models.to_int8(images)


def test_network_has_every_kind_of_layer(mnist):
    pytest.importorskip("tflite")
    graph = mnist.graph()
    assert {type(node.op) for node in graph.nodes} >= {Conv2D, Add, MaxPool2D, AveragePool2D, FullyConnected}
    assert {node.op.stride for node in graph.nodes if isinstance(node.op, Conv2D)} == {(1, 1), (2, 2)}
    assert [node.name for node in graph.nodes][:2] == ["stem.conv", "down.conv"]
    x = graph.tensors[graph.inputs[0]]
    assert x.shape == (1, 28, 28, 1) and x.quantization.zero_point[0] == -128
    assert x.quantization.scale[0] == np.float32(1 / 255)
    assert graph.tensors[graph.outputs[0]].shape == (1, 10)


def test_litert_computes_the_shipped_outputs_byte_for_byte(mnist):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(model_path=str(mnist.path),
                                     experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    outputs = []
    for x in mnist.inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    assert np.array_equal(np.stack(outputs), mnist.outputs)


def test_loading_needs_numpy_only():
    code = ("import sys, lepton.models; lepton.models.load('mnist'); "
            "bad = {'torch', 'tflite', 'flatbuffers'} & set(sys.modules); assert not bad, bad")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_are_small(mnist):
    assert sum(file.stat().st_size for file in mnist.path.parent.iterdir()) < 300_000


def test_training_says_which_file_is_missing(tmp_path):
    pytest.importorskip("torch")
    from lepton.models import train_mnist

    with pytest.raises(SystemExit, match=r"mnist_train_60000\.npz is missing: --data must name the folder"):
        train_mnist.main(["--data", str(tmp_path), "--output", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
