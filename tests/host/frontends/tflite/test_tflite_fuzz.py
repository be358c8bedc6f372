"""Damaged files give GraphError or a well-formed graph: never another exception, a hang or a large allocation."""

import time
import warnings

import numpy as np
import pytest
from lepton.frontends import export_tflite, import_tflite
from lepton.graph import Conv2D, GraphError

from tests.host.frontends.frontend_graphs import Builder, every_operator

SECONDS = 1.0  # for one import; an honest one of these files takes a few milliseconds


@pytest.fixture(scope="module")
def model() -> bytes:
    return export_tflite(every_operator())


@pytest.fixture(scope="module")
def small() -> bytes:
    """Mostly structure and few weights, so that most flips hit structure."""
    b = Builder((1, 3, 3, 1))
    b.node("conv", Conv2D(), b.weights("image", "conv", (2, 2, 2, 1), 0), (1, 2, 2, 2))
    return export_tflite(b.done())


def survives(data: bytes) -> bool:
    """Whether the damaged file was refused."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_tflite(data)
    except GraphError as error:
        assert str(error)
        return True
    finally:
        assert time.process_time() - start < SECONDS
    return False


def test_truncations(model):
    random = np.random.default_rng(1)
    lengths = {*range(0, 200), *random.integers(0, len(model), 300).tolist()}
    refused = sum(survives(model[:length]) for length in lengths)
    assert refused > 0.9 * len(lengths)  # the file's end may be padding or a constant that nothing needs


@pytest.mark.parametrize("seed", range(4))
def test_bit_flips_in_structure(small, seed):
    random = np.random.default_rng(seed)
    refused = 0
    for _ in range(500):
        data = bytearray(small)
        for position in random.integers(0, len(data), random.integers(1, 4)):
            data[position] ^= 1 << random.integers(8)
        refused += survives(bytes(data))
    assert refused > 100


def test_every_byte_set_to_extremes(small):
    refused = 0
    for position in range(len(small)):
        for value in (0x00, 0x7F, 0xFF):
            data = bytearray(small)
            data[position] = value
            refused += survives(bytes(data))
    assert refused > len(small)


def test_words_replaced(model):
    random = np.random.default_rng(7)
    words = [0, 1, 2, 4, 127, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, len(model), len(model) - 4]
    for _ in range(300):
        data = bytearray(model)
        position = int(random.integers(0, len(data) // 4)) * 4
        data[position:position + 4] = int(random.choice(words)).to_bytes(4, "little")
        survives(bytes(data))


@pytest.mark.parametrize("seed", range(4))
def test_any_operator_with_damaged_numbers(seed):
    """Words of random networks replaced, so that attributes, constants and shapes of all operators are."""
    pytest.importorskip("ai_edge_litert")
    from tests.host.frontends.tflite.random_graphs import RandomGraph

    random = np.random.default_rng(seed)
    models = [RandomGraph(1000 + 10 * seed + i, operators=8).model for i in range(10)]
    words = [0, 1, 2, 3, 4, 5, 7, 127, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE]
    refused = 0
    for _ in range(400):
        data = bytearray(models[random.integers(len(models))])
        for _ in range(random.integers(1, 4)):
            position = int(random.integers(0, len(data) // 4)) * 4
            data[position:position + 4] = int(random.choice(words)).to_bytes(4, "little")
        refused += survives(bytes(data))
    assert refused > 100


def test_overlapping_parts_do_not_multiply_the_work():
    """Thousands of tensors whose shapes are one long vector: small as a file, huge if believed."""
    flatbuffers = pytest.importorskip("flatbuffers")
    tflite = pytest.importorskip("tflite")
    b = flatbuffers.Builder(1024)
    long = b.CreateNumpyVector(np.ones(20000, np.int32))
    tensors = []
    for _ in range(5000):
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, long)
        tensors.append(tflite.TensorEnd(b))

    def vector(offsets):
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    tflite.BufferStart(b)
    buffers = vector([tflite.BufferEnd(b)])
    listed = vector(tensors)
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, listed)
    subgraphs = vector([tflite.SubGraphEnd(b)])
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddSubgraphs(b, subgraphs)
    tflite.ModelAddBuffers(b, buffers)
    b.Finish(tflite.ModelEnd(b), file_identifier=b"TFL3")
    with pytest.raises(GraphError):
        import_tflite(bytes(b.Output()))
    assert survives(bytes(b.Output()))
