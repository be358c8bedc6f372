"""What files of different converters hold: old and new operator codes, absent or wrong tables of options, several
networks, tensors that nothing reads, shapes left open. LiteRT's reference kernels say what they mean."""

import copy

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lepton.compiler import compile_graph
from lepton.device import open as open_device
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.runtime import RuntimeModelError, Session

from tests.host.frontends.tflite.file_cases import int8, integers, quantized, results, same
from tests.litert_models import Operator, Tensor, build, build_network, edited, references, schema

BINARY = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "MAXIMUM": "MaximumMinimumOptions",
          "MINIMUM": "MaximumMinimumOptions"}


@pytest.mark.parametrize("field", ["new", "old", "both"])
@pytest.mark.parametrize("operator", BINARY)
def test_operator_code_in_either_field(operator, field):
    def change(model):
        code = model.operatorCodes[0]
        code.builtinCode = 0 if field == "old" else code.builtinCode
        code.deprecatedBuiltinCode = 0 if field == "new" else code.deprecatedBuiltinCode

    model = build(operator, [quantized(1, 8), quantized(1, 8)], quantized(1, 8), 2, BINARY[operator])
    same(edited(model, change), int8(1, 8), int8(1, 8))


def test_operator_code_above_127_has_a_placeholder_in_the_old_field():
    same(build("GELU", [quantized(1, 8)], quantized(1, 8), 2, "GeluOptions"), int8(1, 8))

    def change(model):
        model.operatorCodes[0].builtinCode = 0

    lost = edited(build("GELU", [quantized(1, 8)], quantized(1, 8), 2, "GeluOptions"), change)
    text = r"operator code 127 is unknown \(builtin_code 0, deprecated_builtin_code 127\)"
    with pytest.raises(GraphError, match=text):
        import_tflite(lost)


# Tables of options

def test_options_that_are_absent_or_of_another_operator_count_as_none():
    pair = [quantized(1, 8), quantized(1, 8)]
    model = build("ADD", pair, quantized(1, 8), 2, "AddOptions", FusedActivationFunction=1)

    def absent(tree):
        tree.subgraphs[0].operators[0].builtinOptions = None
        tree.subgraphs[0].operators[0].builtinOptionsType = 0

    def other(tree):
        options = schema.MulOptionsT()
        options.fusedActivationFunction = 1
        tree.subgraphs[0].operators[0].builtinOptions = options
        tree.subgraphs[0].operators[0].builtinOptionsType = schema.BuiltinOptions.MulOptions

    a = int8(1, 8)
    b = int8(1, 8)
    same(model, a, b)
    same(edited(model, absent), a, b)
    with pytest.warns(UserWarning, match=r"\(ADD\) has MulOptions where AddOptions belong; they are ignored"):
        same(edited(model, other), a, b)
    pool = build("MAX_POOL_2D", [quantized(1, 4, 4, 2)], quantized(1, 2, 2, 2), 2, "Pool2DOptions", StrideH=2,
                 StrideW=2, FilterHeight=2, FilterWidth=2)
    with pytest.raises(GraphError, match=r"\(MAX_POOL_2D\) has no Pool2DOptions"):
        import_tflite(edited(pool, absent))
    with pytest.raises(GraphError, match=r"\(MAX_POOL_2D\) must have Pool2DOptions, not MulOptions"):
        import_tflite(edited(pool, other))


# What LiteRT's kernels do not check

def test_int8_and_uint8_meet_in_quantize_only():
    legacy = Tensor(0.05, 128, shape=(1, 3, 3, 2), dtype=np.uint8)
    mean = [legacy, Tensor(data=np.array([1, 2], np.int32))]
    with pytest.raises(GraphError, match=r"\(MEAN\): has INT8 and UINT8 operands, which only QUANTIZE may have"):
        import_tflite(build("MEAN", mean, quantized(1, 1, 1, 2), 2, "ReducerOptions", KeepDims=True))
    same(build("QUANTIZE", [legacy], quantized(1, 3, 3, 2), 1, "QuantizeOptions"),
         np.arange(18, dtype=np.uint8).reshape(1, 3, 3, 2) * 14)


@pytest.mark.parametrize("scales", [1, 4])
@pytest.mark.parametrize("operator,options", [
    ("CONV_2D", {"DilationHFactor": 1, "DilationWFactor": 1}),
    ("DEPTHWISE_CONV_2D", {"DilationHFactor": 1, "DilationWFactor": 1, "DepthMultiplier": 1}), ("TRANSPOSE_CONV", {})])
def test_weights_of_int8_convolutions_have_zero_points_of_0(operator, options, scales):
    table = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
             "TRANSPOSE_CONV": "TransposeConvOptions"}[operator]
    depthwise = operator == "DEPTHWISE_CONV_2D"
    weights = Tensor(np.full(scales, 0.01), data=np.ones((1, 3, 3, 4) if depthwise else (4, 3, 3, 4), np.int8),
                     axis=3 if depthwise else 0)
    weights.zero[-1] = 7
    x = quantized(1, 5, 5, 4)
    shape = Tensor(data=np.array([1, 5, 5, 4], np.int32))
    operands = [shape, weights, x] if operator == "TRANSPOSE_CONV" else [x, weights]
    model = build(operator, operands, quantized(1, 5, 5, 4), 3, table, Padding=0, StrideH=1, StrideW=1, **options)
    with pytest.raises(GraphError, match=r"weights 'tensor_\d' \(INT8\) have the zero point 7; TFLite's int8"):
        import_tflite(model)


def test_data_of_computed_tensors():
    model = build("ADD", [quantized(1, 8), quantized(1, 8)], quantized(1, 8), 2, "AddOptions")

    def with_data(place):
        def change(tree):
            tensor = tree.subgraphs[0].tensors[place]
            tree.buffers[tensor.buffer].data = np.zeros(8, np.uint8)
        return edited(model, change)

    for place in (0, 2):
        with pytest.raises(GraphError, match=r"is an input or is computed, but the file has 8 bytes of data for it"):
            import_tflite(with_data(place))


# Several networks in a file

def two_networks(model: bytes, signatures=("first", "second")) -> bytes:
    """The network twice, the second one with another activation."""
    def change(tree):
        second = copy.deepcopy(tree.subgraphs[0])
        second.operators[0].builtinOptions.fusedActivationFunction = 1
        tree.subgraphs.append(second)
        tree.signatureDefs = []
        for index, key in enumerate(signatures):
            entry = schema.SignatureDefT()
            entry.signatureKey = key
            entry.subgraphIndex = index
            entry.inputs = []
            entry.outputs = []
            tree.signatureDefs.append(entry)

    return edited(model, change)


def test_the_first_of_several_networks_or_one_by_its_signature():
    model = build("ADD", [quantized(1, 8), quantized(1, 8)], quantized(1, 8), 2, "AddOptions")
    both = two_networks(model)
    a = int8(1, 8)
    b = int8(1, 8)
    with pytest.warns(UserWarning, match="several signatures \\('first', 'second'\\); the network of the first"):
        same(both, a, b)
    first, second = (results(import_tflite(both, signature=s), a, b)[0] for s in ("first", "second"))
    np.testing.assert_array_equal(first, references(model, a, b)[0])
    np.testing.assert_array_equal(second, np.maximum(first, 0))
    with pytest.raises(GraphError, match="no signature 'third'; its signatures are 'first', 'second'"):
        import_tflite(both, signature="third")
    with pytest.raises(GraphError, match="no signature 'x'; its signatures are none"):
        import_tflite(model, signature="x")


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (1,) * 9])
def test_tensors_that_nothing_reads_may_have_any_shape(shape):
    def change(tree):
        tensor = schema.TensorT()
        tensor.name = "unused"
        tensor.shape = list(shape)
        tensor.type = 99
        tensor.buffer = 0
        tree.subgraphs[0].tensors.append(tensor)

    import_tflite(edited(build("RELU", [quantized(1, 8)], quantized(1, 8), 2), change))


# Shapes that are computed

def shape_arithmetic(open_shapes: bool) -> bytes:
    """Keras' Reshape with an open batch: SHAPE, STRIDED_SLICE, arithmetic, PACK, RESHAPE."""
    def whole(*shape):
        return Tensor(shape=shape, dtype=np.int32)

    x = quantized(1, 6, 4)
    y = quantized(1, 3, 8)
    shape = whole(3)
    batch = whole()
    rows = whole()
    half = whole()
    product = whole()
    shown = whole(3)
    one = [integers([1]), integers([2]), integers([1])]
    shrink = {"ShrinkAxisMask": 1}
    operators = [
        Operator("SHAPE", 1, [x], [shape], "ShapeOptions", {"OutType": schema.TensorType.INT32}),
        Operator("STRIDED_SLICE", 1, [shape, integers([0]), integers([1]), integers([1])], [batch],
                 "StridedSliceOptions", shrink),
        Operator("STRIDED_SLICE", 1, [shape, *one], [rows], "StridedSliceOptions", shrink),
        Operator("MUL", 1, [rows, integers(4)], [product], "MulOptions", {}),
        Operator("SUB", 1, [product, integers(21)], [half], "SubOptions", {}),
        Operator("PACK", 1, [batch, half, integers(8)], [shown], "PackOptions", {"ValuesCount": 3}),
        Operator("RESHAPE", 1, [x, shown], [y]),
    ]
    model = build_network(operators, [x], [y])

    def change(tree):
        tensors = tree.subgraphs[0].tensors
        for tensor in tensors:
            if len(tensor.shape) == 3:
                tensor.shapeSignature = [-1, *tensor.shape[1:]]
        output = tensors[tree.subgraphs[0].outputs[0]]
        output.shape = [1, 1, 1]
        output.shapeSignature = [-1, -1, -1]  # what a converter writes that does not know

    return edited(model, change) if open_shapes else model


@pytest.mark.parametrize("open_shapes", [False, True])
def test_shape_arithmetic_is_done_at_import(open_shapes):
    model = shape_arithmetic(open_shapes)
    graph = import_tflite(model)
    assert [type(node.op).__name__ for node in graph.nodes] == ["Reshape"]
    assert graph.tensors[graph.outputs[0]].shape == (1, 3, 8)
    same(model, int8(1, 6, 4))


def test_a_reshape_to_a_scalar_has_an_empty_constant():
    same(build("RESHAPE", [quantized(1, 1), integers(np.zeros(0))], quantized(), 1), int8(1, 1))


def test_a_computed_shape_that_does_not_fit_is_refused():
    x = quantized(1, 6)
    y = quantized(1, 5)
    shape = Tensor(shape=(2,), dtype=np.int32)
    sliced = Operator("SLICE", 1, [integers([1, 5, 7]), integers([0]), integers([2])], [shape])
    with pytest.raises(GraphError, match=r"operator 1 \(RESHAPE\): 6 elements cannot take the shape \(1, 5\)"):
        import_tflite(build_network([sliced, Operator("RESHAPE", 1, [x, shape], [y])], [x], [y]))


# Indices that are computed

@pytest.mark.parametrize("index", [-1, 10, 2**31 - 1, -2**31])
def test_an_index_outside_of_the_table_is_an_error(index):
    table = Tensor(np.float32(0.1), 0, data=int8(10, 6))
    indices = Tensor(shape=(3,), dtype=np.int32)
    model = build("GATHER", [table, indices], quantized(3, 6, scale=0.1), 2, "GatherOptions")
    given = np.array([0, 9, index], np.int32)
    with pytest.raises((RuntimeError, ValueError), match="GATHER"):
        references(model, given)
    compiled = compile_graph(import_tflite(model), "tiny")
    with open_device("golden", config="tiny") as device, Session(compiled, device) as session:
        with pytest.raises(RuntimeModelError, match=rf"\(Gather\): index {index} of 'tensor_0' must lie in 0\.\.9"):
            session.run({"tensor_0": given})
        right = session.run({"tensor_0": np.array([0, 9, 3], np.int32)}).outputs
    np.testing.assert_array_equal(next(iter(right.values())), table.data[[0, 9, 3]])
