"""UNIDIRECTIONAL_SEQUENCE_LSTM of int8 against LiteRT's reference kernels, over sequences of invocations."""

import lepton.device
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.program import dump, parse
from lepton.runtime import Session

from tests.host.frontends.tflite.variable_models import interpreter, invoke
from tests.litert_models import Operator, Tensor, build_network, edited

TANH = 4
ABSENT = None


class Lstm:
    """A network of one LSTM of random sizes and scales; `parts` of cifg, peephole, projection, clip."""

    def __init__(self, seed, parts=(), time_major=False, activation=TANH):
        random = self.random = np.random.default_rng(seed)
        batch, inputs, cells, time = (int(n) for n in random.integers(1, [4, 20, 24, 7]))
        outputs = int(random.integers(1, 16)) if "projection" in parts and "peephole" not in parts else cells
        power = int(random.integers(-15, -8))
        out_scale, out_zero = float(np.float32(random.uniform(0.004, 0.012))), int(random.integers(-60, 60))
        hidden = float(np.float32(random.uniform(0.004, 0.01))), int(random.integers(-60, 60))
        self.x = Tensor(float(np.float32(random.uniform(0.01, 0.05))), int(random.integers(-128, 128)),
                        shape=(time, batch, inputs) if time_major else (batch, time, inputs))

        def weights(*shape, dtype=np.int8, low=0.002, high=0.02):
            info = np.iinfo(dtype)
            return Tensor(float(np.float32(random.uniform(low, high))),
                          data=random.integers(-info.max, info.max + 1, shape).astype(dtype))

        cifg = "cifg" in parts
        of_x = [weights(cells, inputs) for _ in range(4)]
        of_h = [weights(cells, outputs) for _ in range(4)]
        peepholes = [weights(cells, dtype=np.int16, low=1e-5, high=1e-4) for _ in range(3)] if (
            "peephole" in parts) else [ABSENT] * 3
        biases = [Tensor(np.float32(t.scale[0]) * np.float32(self.x.scale[0]),
                         data=random.integers(-3000, 3000, cells).astype(np.int32)) for t in of_x]
        if cifg:
            of_x[0] = of_h[0] = peepholes[0] = biases[0] = ABSENT
        projection = [weights(outputs, cells), Tensor(data=random.integers(-2000, 2000, outputs).astype(np.int32))] if (
            "projection" in parts) else [ABSENT] * 2
        h = Tensor(out_scale, out_zero, shape=(batch, outputs))
        cell = Tensor(2.0**power, shape=(batch, cells), dtype=np.int16)
        out = Tensor(out_scale, out_zero, shape=(*self.x.shape[:2], outputs))
        operands = [self.x, *of_x, *of_h, *peepholes, *biases, *projection, h, cell, *[ABSENT] * 4]
        nothing = Tensor(shape=(), dtype=np.int8)
        inner = [Tensor(2.0**-12, shape=(), dtype=np.int16) for _ in range(4)] + [Tensor(*hidden, shape=())]
        clips = {"CellClip": float(2.0**power * 9000), "ProjClip": float(out_scale * 90)} if "clip" in parts else {}
        only = Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", 3, [nothing if t is ABSENT else t for t in operands], [out],
                        "UnidirectionalSequenceLSTMOptions",
                        {"FusedActivationFunction": activation, "TimeMajor": time_major, **clips})
        # Another operator makes room for the intermediates in the list of tensors; it is taken out again.
        spare = Operator("CONCATENATION", 1, inner, [Tensor(shape=(1,))], "ConcatenationOptions", {})

        def finish(tree):
            graph = tree.subgraphs[0]
            lstm, other = graph.operators
            lstm.intermediates = list(other.inputs)
            lstm.inputs = [-1 if t is ABSENT else i for i, t in zip(lstm.inputs, operands, strict=True)]
            for i in (18, 19):
                graph.tensors[lstm.inputs[i]].isVariable = True
            del graph.operators[1]
        self.model = edited(build_network([only, spare], [self.x], [out]), finish)

    def values(self):
        made = self.random.integers(-128, 128, self.x.shape).astype(np.int8)
        if self.random.random() < 0.25:
            made[:] = self.random.choice([-128, 127])
        return made


PARTS = [(), ("cifg",), ("peephole",), ("projection",), ("cifg", "peephole", "projection"), ("clip",),
         ("clip", "projection")]


@pytest.mark.parametrize("parts", PARTS, ids="-".join)
@pytest.mark.parametrize("seed", range(4))
def test_sequences_equal_litert(parts, seed):
    case = Lstm(seed, parts, time_major=bool(seed % 2))
    compiled = parse(dump(compile_graph(import_tflite(case.model), "tiny")))
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        for _ in range(2):
            reference = interpreter(case.model)
            for _ in range(5):
                frames = case.values()
                got = session.run(frames).outputs[compiled.outputs[0].name]
                np.testing.assert_array_equal(got, invoke(reference, frames)[0])
            session.states.reset()


def without(position):
    def change(tree):
        lstm = tree.subgraphs[0].operators[0]
        lstm.inputs = [-1 if i == position else index for i, index in enumerate(lstm.inputs)]
    return change


def scale_of_the_cell(tree):
    graph = tree.subgraphs[0]
    graph.tensors[graph.operators[0].inputs[19]].quantization.scale = [0.001]


def no_intermediates(tree):
    tree.subgraphs[0].operators[0].intermediates = None


@pytest.mark.parametrize(("change", "text"), [
    (without(1), "the input gate must have all its weights and its bias, or none of them"),
    (without(6), "operand 8 is missing"),
    (without(8), "weights or biases of a gate are missing"),
    (without(18), "the last output and the cell must be variables"),
    (scale_of_the_cell, r"must be a power of two from 2\*\*-15 to 2\*\*-9, not 0.001"),
    (no_intermediates, "the intermediates must say how values before the projection are quantized"),
])
def test_what_litert_does_not_compute_is_refused(change, text):
    with pytest.raises(GraphError, match=text):
        import_tflite(edited(Lstm(1).model, change))


def test_weights_of_the_cell_with_fewer_results_are_refused():
    """LiteRT multiplies as many of the cell's values as there are results, from the wrong places."""
    case = Lstm(0, ("projection",))

    def change(tree):
        graph = tree.subgraphs[0]
        lstm = graph.operators[0]
        cells = int(graph.tensors[lstm.inputs[4]].shape[0])
        weights = Lstm(0, ("peephole",)).model  # of as many cells
        other = schema.ModelT.InitFromObj(schema.Model.GetRootAs(weights, 0))
        for position in range(9, 12):
            tensor = other.subgraphs[0].tensors[other.subgraphs[0].operators[0].inputs[position]]
            assert list(tensor.shape) == [cells]
            tree.buffers.append(other.buffers[tensor.buffer])
            tensor.buffer = len(tree.buffers) - 1
            graph.tensors.append(tensor)
            lstm.inputs = [*lstm.inputs[:position], len(graph.tensors) - 1, *lstm.inputs[position + 1:]]
    with pytest.raises(GraphError, match="with weights of the cell there must be as many results as cells"):
        import_tflite(edited(case.model, change))


def test_another_activation_is_refused():
    with pytest.raises(GraphError, match="the activation must be TANH, not RELU"):
        import_tflite(Lstm(1, activation=1).model)
