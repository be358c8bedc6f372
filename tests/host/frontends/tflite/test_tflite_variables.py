"""Networks with variables against LiteRT's reference kernels, over sequences of invocations."""

import lepton.device
import numpy as np
import pytest
from lepton import litert
from lepton.compiler import compile_graph
from lepton.frontends import import_tflite, quantize_tflite
from lepton.graph import GraphError
from lepton.graph.interpret import sequence
from lepton.program import dump, parse
from lepton.runtime import Session

from tests.host.frontends.tflite.variable_models import Handle, assign, interpreter, invoke, read, streaming, var_handle
from tests.litert_models import Operator, Tensor, edited

CHANNELS = 12
SCALE = 0.05


def integers(*values):
    return Tensor(data=np.array(values, np.int32))


def keyword_spotter(seed, frames=4):
    """As microWakeWord's networks stream: a ring of the last frames, a convolution over them, a second ring behind it.
    """
    random = np.random.default_rng(seed)
    new = Tensor(SCALE, -7, shape=(1, 1, 1, CHANNELS))
    operators = []

    def ring(new, length, scale, zero):
        handle = Handle()
        old = Tensor(scale, zero, shape=(1, length, 1, new.shape[-1]))
        joined = Tensor(scale, zero, shape=(1, length + 1, 1, new.shape[-1]))
        kept = Tensor(scale, zero, shape=old.shape)
        operators.extend([
            var_handle(handle), read(handle, old),
            Operator("CONCATENATION", 2, [old, new], [joined], "ConcatenationOptions", {"Axis": 1}),
            Operator("STRIDED_SLICE", 2, [joined, integers(0, 1, 0, 0), integers(1, length + 1, 1, new.shape[-1]),
                                          integers(1, 1, 1, 1)], [kept], "StridedSliceOptions", {}),
            assign(handle, kept)])
        return joined

    first = ring(new, frames, SCALE, -7)
    weights = Tensor(0.01, 0, data=random.integers(-127, 128, (16, frames + 1, 1, CHANNELS)).astype(np.int8))
    bias = Tensor(np.float32(0.01) * np.float32(SCALE), data=random.integers(-500, 500, 16).astype(np.int32))
    features = Tensor(0.1, 4, shape=(1, 1, 1, 16))
    operators.append(Operator("CONV_2D", 3, [first, weights, bias], [features], "Conv2DOptions",
                              {"Padding": 1, "StrideW": 1, "StrideH": 1, "DilationWFactor": 1, "DilationHFactor": 1}))
    second = ring(features, 2, 0.1, 4)
    dense = Tensor(0.02, 0, data=random.integers(-127, 128, (5, 48)).astype(np.int8))
    scores = Tensor(0.2, -3, shape=(1, 5))
    flat = Tensor(0.1, 4, shape=(1, 48))
    operators += [Operator("RESHAPE", 1, [second, integers(1, 48)], [flat], "ReshapeOptions", {}),
                  Operator("FULLY_CONNECTED", 4, [flat, dense], [scores], "FullyConnectedOptions", {})]
    initial = [random.integers(-128, 128, (1, frames, 1, CHANNELS)).astype(np.int8),
               random.integers(-128, 128, (1, 2, 1, 16)).astype(np.int8)]
    return streaming(operators, [new], [scores], initial), initial


def frames_of(seed, count):
    return np.random.default_rng(seed).integers(-128, 128, (count, 1, 1, 1, CHANNELS)).astype(np.int8)


@pytest.mark.parametrize("seed", range(2))
def test_a_streaming_keyword_spotter_equals_litert_frame_by_frame(seed):
    model, initial = keyword_spotter(seed)
    compiled = parse(dump(compile_graph(import_tflite(model), "tiny")))
    random = np.random.default_rng(seed)
    assert [state.name for state in compiled.states] == ["v0", "v1"]
    with lepton.device.open("golden", config="tiny") as device, Session(compiled, device) as session:
        for stream in range(3):
            reference = interpreter(model)
            for frame in frames_of(10 * seed + stream, int(random.integers(2, 12))):
                got = session.run(frame).outputs[compiled.outputs[0].name]
                np.testing.assert_array_equal(got, invoke(reference, frame)[0])
            session.states.reset()
        assert all(np.array_equal(session.states[name], value) for name, value in zip(("v0", "v1"), initial,
                                                                                      strict=True))


def test_the_interface_of_litert_keeps_and_resets_variables():
    model, _ = keyword_spotter(5)
    ours = litert.Interpreter(model_content=model, config="tiny")
    ours.allocate_tensors()
    for _ in range(2):
        theirs = interpreter(model)
        for frame in frames_of(6, 5):
            np.testing.assert_array_equal(invoke(ours, frame)[0], invoke(theirs, frame)[0])
        ours.reset_all_variables()


def arithmetic(order):
    """y1, y2 of one float variable, read and assigned in `order` of "r" and "a"; each assignment adds the input."""
    x = Tensor(shape=(1, 3), dtype=np.float32)
    handle = Handle()
    operators = [var_handle(handle)]
    outputs = []
    for kind in order:
        if kind == "r":
            value = Tensor(shape=(1, 3), dtype=np.float32)
            operators.append(read(handle, value))
            outputs.append(value)
        else:
            total = Tensor(shape=(1, 3), dtype=np.float32)
            operators += [Operator("ADD", 1, [outputs[-1] if outputs else x, x], [total], "AddOptions", {}),
                          assign(handle, total)]
    return streaming(operators, [x], outputs, [np.array([[1, -2, 3]], np.float32)])


@pytest.mark.parametrize("order", ["r", "ra", "rar", "rara", "ar", "rrar"])
def test_reads_and_assignments_take_place_in_the_order_of_the_file(order):
    model = arithmetic(order)
    graph = import_tflite(model)
    reference = interpreter(model)
    values = np.random.default_rng(1).normal(size=(5, 1, 3)).astype(np.float32)
    for x, got in zip(values, sequence(graph, [{graph.caller_inputs[0]: x} for x in values]), strict=True):
        for name, wanted in zip(graph.caller_outputs, invoke(reference, x), strict=True):
            np.testing.assert_array_equal(got[name], wanted)
    assert len(graph.states) == (order[0] == "r")


def test_a_variable_holds_bytes_whatever_their_scale():
    """Assigned with one quantization and read with another, on both sides of the inference's end."""
    x = Tensor(0.5, 3, shape=(1, 4))
    old = Tensor(0.25, -10, shape=(1, 4))
    new = Tensor(0.125, 20, shape=(1, 4))
    handle = Handle()
    total = Tensor(0.5, 3, shape=(1, 4))
    model = streaming([var_handle(handle), read(handle, old),
                       Operator("ADD", 2, [x, old], [total], "AddOptions", {}), assign(handle, total),
                       read(handle, new), Operator("DEQUANTIZE", 2, [new],
                                                   [out := Tensor(shape=(1, 4), dtype=np.float32)])],
                      [x], [out], [np.array([[-128, 127, 0, 5]], np.int8)])
    graph = import_tflite(model)
    reference = interpreter(model)
    values = np.random.default_rng(2).integers(-128, 128, (6, 1, 4)).astype(np.int8)
    for x, got in zip(values, sequence(graph, [{graph.caller_inputs[0]: x} for x in values]), strict=True):
        np.testing.assert_array_equal(got[graph.caller_outputs[0]], invoke(reference, x)[0])


def float_convolution():
    """A network that has to be quantized, with a variable behind its layer."""
    x = Tensor(shape=(1, 1, 1, 3), dtype=np.float32)
    made = Tensor(shape=(1, 1, 1, 3), dtype=np.float32)
    out = Tensor(shape=(1, 1, 1, 3), dtype=np.float32)
    handle = Handle()
    weights = Tensor(data=np.ones((3, 1, 1, 3), np.float32))
    layer = Operator("CONV_2D", 1, [x, weights, Tensor(data=np.zeros(3, np.float32))], [made], "Conv2DOptions",
                     {"StrideW": 1, "StrideH": 1})
    return streaming([layer, var_handle(handle), read(handle, out), assign(handle, made)], [x], [out],
                     [np.zeros((1, 1, 1, 3), np.float32)])


def test_a_float_network_with_variables_is_refused():
    with pytest.raises(GraphError, match="a float network with variables cannot be quantized here; convert"):
        quantize_tflite(float_convolution(), np.ones((4, 1, 1, 3), np.float32))


def without_once(tree):
    del tree.subgraphs[0].operators[0]


def no_subgraph(tree):
    tree.subgraphs[0].operators[0].builtinOptions.initSubgraphIndex = 7


def late(tree):
    operators = tree.subgraphs[0].operators
    operators.append(operators.pop(0))


def other_type(tree):
    graph = tree.subgraphs[1]
    graph.tensors[graph.operators[-1].inputs[1]].type = 2  # INT32


def other_name(tree):
    tree.subgraphs[1].operators[0].builtinOptions.sharedName = "elsewhere"


def no_handle(tree):
    del tree.subgraphs[0].operators[1]
    tree.subgraphs[0].inputs = [*tree.subgraphs[0].inputs]


@pytest.mark.parametrize(("change", "text"), [
    (without_once, r"operator 1 \(READ_VARIABLE\): reads the variable 'v0', to which nothing assigns a value before"),
    (no_subgraph, "CALL_ONCE names subgraph 7, the file has 2"),
    (late, r"operator 4 \(CALL_ONCE\): must be before the operators that read or assign variables"),
    (other_type, r"the variable 'v0' starts with int32 \(1, 3\), and is read as float32 \(1, 3\)"),
    (other_name, "reads the variable 'v0', to which nothing assigns"),
    (no_handle, r"\(READ_VARIABLE\): the variable must be one of the network's own \(VAR_HANDLE\)"),
])
def test_variables_that_cannot_be_known_are_refused(change, text):
    with pytest.raises(GraphError, match=text):
        import_tflite(edited(arithmetic("ar" if change is late else "rar"), change))
