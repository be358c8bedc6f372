"""SVDF against LiteRT's reference kernels, over sequences of invocations."""

import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.program import dump, parse
from lepton.runtime import Session

from tests.host.frontends.tflite.variable_models import interpreter, invoke
from tests.litert_models import Operator, Tensor, build_network, edited

RELU = 1


def svdf(random, exact, activation=RELU, bias=True, state_type=np.int16, variable=True):
    """A network of one SVDF of random sizes and scales."""
    batch, inputs, units, rank, time = (int(n) for n in random.integers(1, [4, 12, 6, 4, 9]))
    features = units * rank
    if exact:
        scales = [float(np.float32(10 ** random.uniform(-3, -1))) for _ in range(3)]
        # Sums of the features reach beyond 16 bits in some networks, those of the filters beyond 8.
        state_scale = np.float32(scales[0] * scales[1] * inputs * 10 ** random.uniform(-0.8, 0.3))
        out_scale = np.float32(state_scale * scales[2] * 2**19 * time * 10 ** random.uniform(-0.5, 0.5))
        x = Tensor(scales[0], int(random.integers(-128, 128)), shape=(batch, inputs))
        weights = Tensor(scales[1], data=random.integers(-127, 128, (features, inputs)).astype(np.int8))
        filters = Tensor(scales[2], data=random.integers(-32767, 32768, (features, time)).astype(np.int16))
        shift = Tensor(state_scale * np.float32(scales[2]), data=random.integers(-2**20, 2**20, units).astype(np.int32))
        state = Tensor(state_scale, shape=(batch, features * time), dtype=state_type)
        out = Tensor(out_scale, int(random.integers(-128, 128)), shape=(batch, units))
    else:
        x, weights, filters, shift = (Tensor(data=random.normal(size=shape).astype(np.float32)) for shape in (
            (batch, inputs), (features, inputs), (features, time), (units,)))
        x.data = None
        state = Tensor(shape=(batch, features * time), dtype=np.float32)
        out = Tensor(shape=(batch, units), dtype=np.float32)
    if not bias:
        shift = Tensor(shape=(), dtype=np.int32)
    only = Operator("SVDF", 3, [x, weights, filters, shift, state], [out], "SVDFOptions",
                    {"Rank": rank, "FusedActivationFunction": activation})

    def mark(tree):
        graph = tree.subgraphs[0]
        graph.tensors[graph.operators[0].inputs[4]].isVariable = variable
        if not bias:
            graph.operators[0].inputs = [*graph.operators[0].inputs[:3], -1, graph.operators[0].inputs[4]]
    return edited(build_network([only], [x], [out]), mark), x


def values(random, tensor):
    if tensor.dtype == np.float32:
        return random.normal(size=tensor.shape).astype(np.float32)
    made = random.integers(-128, 128, tensor.shape).astype(np.int8)
    if random.random() < 0.3:
        made[:] = random.choice([-128, 127])
    return made


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_sequences_equal_litert(exact, seed):
    random = np.random.default_rng(seed)
    model, x = svdf(random, exact, RELU if exact else seed % 2, bias=seed % 4 != 3)
    compiled = parse(dump(compile_graph(import_tflite(model), "tiny")))
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        for _ in range(2):
            reference = interpreter(model)
            for _ in range(int(random.integers(3, 12))):
                frame = values(random, x)
                got = session.run(frame).outputs[compiled.outputs[0].name]
                wanted = invoke(reference, frame)[0]
                if exact:
                    np.testing.assert_array_equal(got, wanted)
                else:  # LiteRT's sums have the order of its vector registers
                    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
            session.states.reset()


@pytest.mark.parametrize(("change", "text"), [
    ({"activation": 0}, r"operator 0 \(SVDF\): the fused activation of int8 must be RELU, not NONE"),
    ({"state_type": np.int8}, "has the data type INT8, supported here is INT16"),
    ({"variable": False}, "must be a variable"),
])
def test_what_litert_does_not_compute_is_refused(change, text):
    model, _ = svdf(np.random.default_rng(1), True, **change)
    with pytest.raises(GraphError, match=text):
        import_tflite(model)


def test_a_rank_that_does_not_fit_is_refused():
    model, _ = svdf(np.random.default_rng(2), True)

    def change(tree):
        tree.subgraphs[0].operators[0].builtinOptions.rank = 97
    with pytest.raises(GraphError, match=r"filters \(.*\), rank 97 and state \(.*\) do not fit each other"):
        import_tflite(edited(model, change))
