"""Malformed and unsupported models: GraphError with a text that says what is wrong, every time."""

import os

import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import convert, import_onnx
from lepton.graph import GraphError
from onnx import TensorProto, helper

from tests.host.frontends.onnx.onnx_models import Net, array, difference
from tests.seeds import seeds


def network(opset=17) -> onnx.ModelProto:
    """Some of everything that has options to get wrong."""
    rng = np.random.default_rng(1)
    net = Net(opset)

    def q(x, scale=0.1):
        return net.qdq(x, scale, 3, np.uint8)

    x = q(net.input((1, 4, 8, 8)), 0.05)
    w = net.weights(rng.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8), rng.uniform(0.01, 0.02, 8))
    a = q(net("Conv", x, w, pads=[1, 1, 1, 1]))
    b = q(net("Resize", a, np.zeros(0, np.float32), array([1, 1, 2, 2], np.float32), mode="nearest"))
    c = q(net("Pad", b, array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
    d = q(net("Slice", c, array([1], np.int64), array([9], np.int64), array([2], np.int64)))
    e = [q(net(kind, d, kernel_shape=[2, 2], strides=[2, 2])) for kind in ("MaxPool", "AveragePool")]
    f = q(net("Concat", *e, axis=1))
    g = q(net("Transpose", q(net("Reshape", f, array([1, 2, 8, 4, -1], np.int64))), perm=[0, 2, 1, 3, 4]))
    h = q(net("Reshape", g, array([1, 16, 4, 9], np.int64)))
    i = q(net("Gather", h, array([1, 3, 5, 4], np.int64), axis=1))
    j = q(net("DepthToSpace", i, blocksize=2))
    k = net.qdq(net("Softmax", i, axis=1), 1 / 256, 0, np.uint8)
    halves = net("Split", h, outputs=2, axis=1)
    return net.model(k, q(net("Clip", j, array(0, np.float32), array(6, np.float32))), q(net("Mul", *halves)),
                     q(net("Tanh", halves[0])))


def refused(model, text, **options):
    with pytest.raises(GraphError, match=text):
        import_onnx(model, **options)


@pytest.fixture
def model():
    return network()


def node(model, op):
    return next(node for node in model.graph.node if node.op_type == op)


def test_files_that_are_not_onnx(tmp_path, model):
    for data in (b"", b"no model", b"\x00" * 100, b"\xff" * 64):
        refused(data, "not an ONNX file")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString()[:500])
    refused(tmp_path / "net.onnx", "not an ONNX file, or a damaged one")
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("size,text", (([9, 0], "must be 2 numbers of at least 1"),
                                       ([12, 9], "dimension 0 can be 10 at most")))
def test_sizes_that_no_transposed_convolution_makes(size, text):
    net = Net()
    weights = net.weights(np.ones((4, 2, 1, 3), np.int8), 0.1)
    y = net("ConvTranspose", net.qdq(net.input((1, 4, 5, 4)), 0.05, 3), weights, strides=[2, 2])
    model = net.model(y)
    model.graph.node[-1].attribute.append(helper.make_attribute("output_shape", size))
    refused(model, text)


@pytest.mark.parametrize("seed", seeds(2))
def test_truncated_and_flipped_files(model, seed):
    """An error or, where a flip does no harm, a graph that computes what ONNX Runtime computes for the same file."""
    rng = np.random.default_rng(seed)
    data = model.SerializeToString()
    exact = errors = 0
    for kind in range(240):
        damaged = bytearray(data)
        if kind % 4 == 0:
            del damaged[int(rng.integers(len(data))):]
        for _ in range(kind % 4):
            damaged[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            import_onnx(bytes(damaged))
        except GraphError as error:
            assert str(error).strip()
            errors += 1
        else:
            assert difference(onnx.load_model_from_string(bytes(damaged)), np.random.default_rng(3), runs=1) <= 2
            exact += 1
    assert errors > 100 and exact


EXTREMES = (0, -1, 3, -2, 255, 65536, 1 << 31, 1 << 62, -(1 << 63), (1 << 63) - 1)


def mutate(model, rng):
    """One number, name or operator is another."""
    graph = model.graph
    kind = int(rng.integers(6))
    chosen = graph.node[int(rng.integers(len(graph.node)))]
    extreme = EXTREMES[int(rng.integers(len(EXTREMES)))]
    integers = [a for a in chosen.attribute if a.ints or a.type == onnx.AttributeProto.INT]
    tensors = [t for t in graph.initializer if t.data_type == TensorProto.INT64 and t.dims]
    if kind == 0 and integers:
        if integers[0].ints:
            integers[0].ints[int(rng.integers(len(integers[0].ints)))] = extreme
        else:
            integers[0].i = extreme
    elif kind == 1:
        chosen.op_type = sorted(convert.CONVERTERS)[int(rng.integers(len(convert.CONVERTERS)))]
        chosen.domain = "com.microsoft" if chosen.op_type.startswith("QLinear") else ""
    elif kind == 2:
        chosen.input[int(rng.integers(len(chosen.input)))] = [t.name for t in graph.initializer][int(rng.integers(9))]
    elif kind == 3:
        tensors[int(rng.integers(len(tensors)))].dims[0] = extreme
    elif kind == 4:
        graph.input[0].type.tensor_type.shape.dim[int(rng.integers(4))].dim_value = extreme
    else:
        tensor = tensors[int(rng.integers(len(tensors)))]
        if tensor.raw_data:
            values = np.frombuffer(tensor.raw_data, np.int64).copy()
            values[int(rng.integers(values.size))] = extreme
            tensor.raw_data = values.tobytes()


@pytest.mark.parametrize("seed", seeds(4))
def test_absurd_numbers_and_operators(seed):
    rng = np.random.default_rng(seed)
    models = (network(), network(13))
    errors = 0
    for attempt in range(240):
        model = onnx.ModelProto()
        model.CopyFrom(models[attempt % 2])
        mutate(model, rng)
        try:
            import_onnx(model)
        except GraphError as error:
            assert str(error).strip() and "\n" not in str(error)
            errors += 1
    assert errors > 100


def test_unknown_operators_domains_and_opsets(model):
    node(model, "Tanh").op_type = "Gizmo"
    refused(model, "Gizmo")
    node(model, "Gizmo").CopyFrom(helper.make_node("Einsum", ["v2_0"], ["v99_0"], equation="abcd->abdc"))
    refused(model, "v")
    model = network()
    node(model, "Tanh").domain = "org.example"
    refused(model, "operator Tanh of domain 'org.example' is not supported")
    for version in (3, 999):
        model = network()
        model.opset_import[0].version = version
        refused(model, f"uses ONNX opset {version}; supported are 7 to")
    del model.opset_import[:]
    refused(model, "does not say which ONNX opset")


def test_an_operator_that_is_known_but_not_supported():
    net = Net()
    x = net.qdq(net.input((1, 4, 6)), 0.1, 0)
    model = net.model(net.qdq(net("LpNormalization", x), 0.1, 0))
    refused(model, r"LpNormalization 'v2_0': the operator is not supported; docs/operators\.md lists the operators")


def test_equations_that_are_none():
    """ONNX's shape inference never ends on some of them."""
    for equation in ("...-", "a->b->c", "..", "a1", "a->>b"):
        net = Net()
        x = net.input((2, 3))
        graph = helper.make_graph([helper.make_node("Einsum", [x], ["y"], equation=equation)], "net", net.inputs,
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
        refused(net._wrap(graph), "the equation must be letters, commas, '...' and one '->', not")


@pytest.mark.parametrize(("operator", "operands", "what"), [
    ("CumSum", (np.int64([0, 1]),), "the axis"), ("Trilu", (np.int64([1, 2]),), "the diagonal"),
    ("Clip", (np.float32([0, 1]),), "the lower bound"),
    ("Pad", (np.int64([0, 0, 1, 1]), np.float32([0, 1])), "the value"),
])
def test_several_numbers_where_one_belongs(operator, operands, what):
    net = Net()
    y = net(operator, net.input((3, 4)), *(array(v, v.dtype) for v in operands))
    refused(net.model(y), rf"{what} must be one number, not of shape \(2,\)")


def test_attributes_that_refer_to_a_function():
    net = Net()
    model = net.model(net("Transpose", net.input((1, 4)), perm=[1, 0]))
    model.graph.node[0].attribute[0].ref_attr_name = "x"
    refused(model, "Transpose 'v0_0' has a malformed attribute: ")


def test_float_networks(model):
    net = Net()
    model = net.model(net("Conv", net.input((1, 3, 8, 8)), np.ones((4, 3, 3, 3), np.float32)))
    refused(model, "Conv 'v0_0': works on float32 values; quantize the network first")


def test_dynamic_shapes():
    net = Net()
    y = net.qdq(net.input(("batch", 3, "height", 8)), 0.1, 0)
    model = net.model(net.qdq(net("Relu", y), 0.1, 0))
    refused(model, r"input 'x0' leaves dimension 2 \(height\) open; only the batch may be")
    graph = import_onnx(model, shapes={"x0": (1, 3, 5, 8)})
    assert graph.tensors[graph.outputs[0]].shape == (1, 3, 5, 8)
    refused(model, "has 4 dimensions, the shape given for it", shapes={"x0": (1, 3)})
    refused(model, "has 3 in dimension 1, not 4", shapes={"x0": (1, 4, 5, 8)})
    refused(model, "which the network does not have", shapes={"x0": (1, 3, 5, 8), "y": (1,)})
    refused(model, "dimension 2 must be at least 1, not 0", shapes={"x0": (1, 3, 0, 8)})


def test_a_shape_that_is_computed():
    net = Net()
    x = net.qdq(net.input((1, 12)), 0.1, 0)
    shape = net.input((2,), np.int64)
    refused(net.model(net("Reshape", x, shape)), "the shape must be constant, not computed by the network")


def test_cycles_and_order(model):
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    refused(model, "before any operator has computed it: the graph has a cycle, or is not sorted")
    model = network()
    model.graph.node.append(model.graph.node[0])
    refused(model, "which is there already")
    model = network()
    model.graph.output[0].name = "unknown"
    refused(model, "output 'unknown' is computed by no operator")
    model = network()
    del model.graph.input[:]
    refused(model, "which nothing computes")


def test_control_flow_and_sparse_constants():
    net = Net()
    x = net.input((1, 4))
    model = net.model(net("Relu", x))
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("then_branch", branch))
    refused(model, "control flow is not supported")


def test_huge_shapes():
    net = Net()
    x = net.input((1, 1 << 20, 1 << 20))
    refused(net.model(net("Relu", x)), "too large: at most 268435456 elements")
    net = Net()
    x = net.qdq(net.input((1, 4)), 0.1, 0)
    model = net.model(net("Expand", x, array([1 << 20, 1 << 20, 4], np.int64)))
    refused(model, "too large")


def external(model, location, folder):
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 100)
    size = len(tensor.raw_data)
    tensor.data_location = TensorProto.EXTERNAL
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def test_external_data(tmp_path):
    inside = tmp_path / "model"
    inside.mkdir()
    assert import_onnx(external(network(), "weights.bin", inside)).nodes
    (tmp_path / "weights.bin").write_bytes(b"\x01" * 288)
    os.symlink(tmp_path / "weights.bin", inside / "link.bin")
    for location in ("../weights.bin", str(tmp_path / "weights.bin"), "link.bin", "nothing.bin", ""):
        refused(external(network(), location, inside), "must be a file in the model's folder")
    path = external(network(), "weights.bin", inside)
    refused(path.read_bytes(), "next to the model; give the model's path instead of its bytes")
    (inside / "weights.bin").write_bytes(b"\x01" * 10)
    refused(path, "cannot be read|malformed")


def test_missing_and_wrong_quantization():
    net = Net()
    x = net.input((1, 4))
    scale = net.input((), np.float32)
    q = net("QuantizeLinear", x, scale, array(3, np.uint8))
    y = net("DequantizeLinear", q, scale, array(3, np.uint8))
    refused(net.model(y), "must be a constant; of computed scales those of DynamicQuantizeLinear")
    net = Net()
    y = net.qdq(net.input((1, 4, 3)), [0.1] * 4, [0] * 4)
    refused(net.model(y), "activations must have one scale and one zero point, not 4 and 4")
    for scale, text in ((np.nan, "not nan"), (0, "not 0.0"), (-1, "not -1.0"),
                        (1e-30, r"must lie in 9.09e-13..1.1e\+12")):
        net = Net()
        refused(net.model(net.qdq(net.input((1, 4)), scale, 0)), text)
