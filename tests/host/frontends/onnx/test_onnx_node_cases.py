"""ONNX's own operator tests (`onnx.backend.test.case.node`): float operators on the host within the tests' tolerance,
quantized ones exactly. Scales, shapes and axes, which those tests feed at run time, are made constants first."""

import re
import warnings
from functools import cache

import numpy as np
import onnx
import pytest
from lepton.frontends.onnx import import_onnx
from lepton.frontends.onnx.convert import CONVERTERS
from lepton.graph import GraphError
from onnx import numpy_helper

from tests.host.frontends.onnx.onnx_models import run

NEWEST_OPSET = 21  # of what ONNX Runtime has kernels for; the tests are written for the newest one
COMPUTED = {"QLinearMatMul": (0, 3)}  # inputs that stay inputs, where more than the first
SEVERAL = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Concat", "PRelu", "Gather", "MatMul", "Gemm", "Conv",
           "ConvTranspose", "Where", "Pow")

# How many cases of each operator must pass. The others must be refused for one of the reasons below.
PASS = {
    "Abs": 1, "Add": 2, "AveragePool": 14, "Ceil": 2, "Clip": 12, "Concat": 12, "DepthToSpace": 2,
    "DequantizeLinear": 1, "Div": 4, "Dropout": 4, "Elu": 3, "Erf": 1, "Exp": 2, "Expand": 2, "Flatten": 9, "Floor": 2,
    "Gather": 4, "Gelu": 4, "GlobalAveragePool": 2, "GlobalMaxPool": 2, "HardSigmoid": 3, "HardSwish": 1,
    "Identity": 3, "LeakyRelu": 3, "Log": 2, "Max": 8, "MaxPool": 13, "Min": 8, "Mul": 3, "Neg": 2,
    "PRelu": 2, "Pad": 6, "QLinearConv": 1, "QLinearMatMul": 4, "QuantizeLinear": 1, "Reciprocal": 2, "ReduceMax": 9,
    "ReduceMean": 8, "ReduceMin": 9, "ReduceProd": 8, "ReduceSum": 10, "Relu": 1, "Reshape": 9, "Resize": 37,
    "Round": 1, "Sigmoid": 2, "Slice": 7, "Softmax": 7, "Softplus": 2, "SpaceToDepth": 2, "Split": 14, "Sqrt": 2,
    "Squeeze": 2, "BatchNormalization": 2, "InstanceNormalization": 2, "LayerNormalization": 0, "LogSoftmax": 7,
    "ReduceL1": 8, "ReduceL2": 8, "ReduceSumSquare": 8, "RMSNormalization": 0, "LRN": 2,
    "Shape": 11, "Size": 2, "IsInf": 3, "Mod": 5, "Shrink": 2,
    "Acos": 2, "Acosh": 2, "And": 8, "Asin": 2, "Asinh": 2, "Atan": 2, "Atanh": 2, "BitwiseNot": 1, "Celu": 1,
    "Cos": 2, "Cosh": 2, "Equal": 4, "GatherElements": 3, "GatherND": 3, "Greater": 4, "GreaterOrEqual": 4,
    "GroupNormalization": 2, "IsNaN": 1, "Less": 4, "LessOrEqual": 4, "Mean": 3, "Mish": 1, "OneHot": 5, "Or": 8,
    "Pow": 6, "ReduceLogSum": 4, "Scatter": 2, "ScatterElements": 7, "ScatterND": 7, "Selu": 3, "Sign": 1, "Sin": 2,
    "Sinh": 2, "Softsign": 2, "Sum": 3, "Tan": 2, "ThresholdedRelu": 3, "Trilu": 16, "Where": 2, "Xor": 8,
    "ArgMax": 16, "ArgMin": 16, "CumSum": 2, "Hardmax": 7, "ReverseSequence": 2, "TopK": 6,
    "ConvInteger": 2, "DynamicQuantizeLinear": 3, "MatMulInteger": 1,
    "Sub": 3, "Tanh": 2, "Tile": 2, "Transpose": 7, "Unsqueeze": 7, "Upsample": 1,
}
NOT_COVERED = {  # what the refusal says: why it is not covered
    r"must be bool, float32, int32, int64, int8, uint8, not": "data types that quantized networks do not have",
    r"a cast from \S+ to \S+ is not supported": "the same",
    r"zero points must be int8 or uint8|to (u?int16|u?int4|u?int2|float\S+) is not supported": "other than 8 bits",
    r"scales must be float32": "float16 scales",
    r"activations must have one scale and one zero point": "activations are quantized per tensor",
    r"only int8 and uint8 values can be dequantized": "the same",
    r"ONNX Runtime cannot load the model": "ONNX Runtime has no such kernel, so there is nothing to be exact with",
    r"works on float32 values; quantize the network first": "layers with weights run as integers",
    r"arithmetic with plain 8-bit integers": "8-bit values stand for reals here",
    r"supported only as a function of one 8-bit tensor": "no such operator on the host, only as a table",
    r"only float32 values can be (divided|raised to a power)": "integer division and powers",
    r"fmod must be 1": "which ONNX Runtime does not compute",
    r"operands must be float32": "functions of integers and doubles",
    r"images (must have|of) 1 or 2 dimensions": "volumes",
    r"only the values are supported as a result|only first outputs": "rare options of pools",
    r"dimension \d must be at least 1, not 0|the slice from .* is empty": "empty tensors",
    r"must be a tensor of known rank": "sequences and optionals",
    r"training mode": "training",
    r"aspect_ratio": "rare options of Resize",
    r"must be a constant; of computed scales|must be constant, not computed": "computed scales and shapes",
    r"the bounds|uses ONNX opset": "older opsets",
}
DIFFERENT = {"test_resize_downsample_scales_linear_align_corners",  # ONNX Runtime computes another size there
             "test_resize_downsample_scales_cubic_align_corners"}


@cache
def cases() -> list:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def with_constants(case, operator) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for opset in model.opset_import:
        opset.version = min(opset.version, NEWEST_OPSET)
    if operator not in SEVERAL:
        kept = {case.model.graph.input[i].name for i in COMPUTED.get(operator, (0,))}
        for value, data in zip(case.model.graph.input, case.data_sets[0][0], strict=True):
            if value.name not in kept:
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(data), value.name))
    return model


@pytest.mark.parametrize("operator", PASS)
@pytest.mark.filterwarnings("ignore")
def test_operator(operator):
    passed = 0
    for case in cases():
        if {node.op_type for node in case.model.graph.node} != {operator} or case.name in DIFFERENT:
            continue
        if any(isinstance(data, onnx.TensorProto) for data in case.data_sets[0][0]):
            continue  # of a type that numpy does not have: float8, int4 and the like
        try:
            graph = import_onnx(with_constants(case, operator))
        except GraphError as error:
            assert any(re.search(text, str(error)) for text in NOT_COVERED), f"{case.name}: {error}"
            continue
        inputs, outputs = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        got = run(graph, {name: np.asarray(data) for name, data in zip(names, inputs, strict=True)
                          if name in graph.inputs})
        for result, expected in zip(got, outputs, strict=True):
            expected = np.asarray(expected)
            assert result.shape == expected.shape and result.dtype == expected.dtype, case.name
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(result, expected, case.rtol, case.atol, err_msg=case.name)
            else:
                np.testing.assert_array_equal(result, expected, case.name)
        passed += 1
    assert passed == PASS[operator]


def test_every_operator_with_cases_is_listed_or_has_none_that_pass():
    alone = {node.op_type for case in cases() for node in case.model.graph.node if len(case.model.graph.node) == 1}
    without = {"Cast", "Conv", "ConvTranspose", "Gemm", "MatMul", "Not", "Einsum", "ReduceLogSumExp"}  # of other
    # data types, or layers without quantization
    assert alone & set(CONVERTERS) == set(PASS) | without
