"""Parameters of the residual add: the chip's function against golden, ONNX Runtime and TFLite's formulas, all pairs."""

import numpy as np
import onnxruntime
import pytest
from lepton import graph
from lepton.arch import Rounding, Tensor
from lepton.arch.commands import PARAM_WORDS
from lepton.compiler.quantize import pack_parameters
from lepton.compiler.residual_fit import chip_table, fit_fixed, fit_float
from lepton.graph import Add, Arithmetic, interpret
from lepton.graph.numerics.fixedpoint import rounding_divide, saturating_doubling_high_multiply
from lepton.graph.numerics.requantize import add_parameters
from lepton_sim.golden.tail import tail
from onnx import TensorProto, helper, numpy_helper

BYTES = np.arange(-128, 128)


def onnx_runtime_add(scales, zeros):
    """QLinearAdd of every pair."""
    constants = {f"{kind}_{name}": value for name, scale, zero in zip("abc", scales, zeros, strict=True)
                 for kind, value in (("scale", np.float32(scale)), ("zero", np.int8(zero)))}
    names = ["a", "scale_a", "zero_a", "b", "scale_b", "zero_b", "scale_c", "zero_c"]
    graph = helper.make_graph(
        [helper.make_node("QLinearAdd", names, ["c"], domain="com.microsoft")], "add",
        [helper.make_tensor_value_info(n, TensorProto.INT8, [256, 256]) for n in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.INT8, [256, 256])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(),
        providers=["CPUExecutionProvider"])
    a, b = np.meshgrid(BYTES.astype(np.int8), BYTES.astype(np.int8), indexing="ij")
    return session.run(None, {"a": a, "b": b})[0]


def onnx_add_table(scales, zeros):
    """What the host's kernel makes of every pair."""
    a, b, output = map(quantized, "abc", scales, zeros)
    every = BYTES.astype(np.int8)
    return interpret.compute(Add(), Arithmetic.FLOAT, [a, b], [every[:, None], every[None, :]], output)


def quantized(name, scale, zero):
    return graph.Tensor(name, (256, 256), np.dtype(np.int8), graph.Quantization(np.float32([scale]), np.int32([zero])))


def random_cases(seed, count):
    """(scales, zeros) as trained networks have them; equal scales and zero points among them."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        a, b = np.exp(rng.uniform(np.log(0.005), np.log(0.1), 2))
        if i % 5 == 0:
            b = a
        output = a if i % 7 == 0 else max(a, b) * rng.uniform(0.6, 2)
        zeros = (0, 0, 0) if i % 3 == 0 else tuple(map(int, rng.integers(-128, 128, 3)))
        yield tuple(float(np.float32(s)) for s in (a, b, output)), zeros


def ratios(scales):
    return scales[0] / scales[2], scales[1] / scales[2]


def test_onnx_table_is_onnx_runtimes():
    for scales, zeros in random_cases(1, 25):
        assert np.array_equal(onnx_add_table(scales, zeros), onnx_runtime_add(scales, zeros)), (scales, zeros)


def golden_table(fields, rounding):
    """The tail of the golden model with a requantizer that does nothing."""
    a, b = np.meshgrid(BYTES, BYTES, indexing="ij")
    ones = np.ones(256, np.int64)
    record = np.frombuffer(pack_parameters(0 * ones, ones << 30, (1, 0), 256), np.uint8).reshape(PARAM_WORDS, 256)
    command = Tensor.unpack(Tensor.pack(rounding=rounding, out_min=-128, out_max=127, **fields))
    return tail(a.astype(np.int32), record, b.astype(np.int8), None, command)


@pytest.mark.parametrize("rounding", [Rounding.DOUBLE, Rounding.FLOAT])
def test_chip_table_is_goldens(rounding):
    rng = np.random.default_rng(2)
    for _ in range(12):
        fields = {f"add_mult_{n}": int(rng.integers(-(2**31), 2**31)) for n in "abo"}
        fields |= {f"add_shift_{n}": int(rng.integers(0, 24)) for n in "abo"}
        fields |= {f"add_zero_{n}": int(rng.integers(-128, 128)) for n in "abo"}
        fields |= {"add": 1, "add_min": int(rng.integers(-128, 0)), "add_max": int(rng.integers(0, 128))}
        assert np.array_equal(chip_table(fields, rounding), golden_table(fields, rounding)), fields


def test_float_sums_are_found():
    """Nearly all of them; where float32's own rounding contradicts every plane, None."""
    found = mended = 0
    for scales, zeros in random_cases(3, 150):
        table = onnx_add_table(scales, zeros)
        fields = fit_float(table, ratios(scales), zeros)
        if fields is not None:
            found += 1
            assert np.array_equal(golden_table(fields, Rounding.FLOAT), table)
            mended += any(abs(fields[f"add_mult_{n}"] / 2.0 ** (11 + fields["add_shift_o"]) - ratio) > 2.0**-29
                          for n, ratio in zip("ab", ratios(scales), strict=True))
    assert found >= 145
    assert mended >= 10, "the ratios alone would have done; the test does not test the search"


def test_ties():
    """Sums that lie on halves by the hundreds: kernels that add an odd zero point before or after they round."""
    for scales, zero in (((1, 1, 2), 0), ((1, 1, 2), 3), ((1, 1, 2), -128), ((1, 1, 2), 127), ((3, 1, 4), 1)):
        table = onnx_add_table(scales, (5, -7, zero))
        fields = fit_float(table, ratios(scales), (5, -7, zero))
        assert np.array_equal(golden_table(fields, Rounding.FLOAT), table)


def test_a_clamp_and_large_ratios():
    for scales, limits in (((0.05, 0.02, 0.04), (0, 127)), ((0.9, 0.7, 0.005), (-128, 127)),
                           ((1, 1e-6, 1), (-100, 50))):
        table = np.clip(onnx_add_table(scales, (3, 4, 0)), *limits)
        fields = fit_float(table, ratios(scales), (3, 4, 0))
        assert np.array_equal(golden_table(fields, Rounding.FLOAT), table)


def test_subtraction():
    """Dequantize, subtract, quantize in float32, as ONNX Runtime does it."""
    found = 0
    for scales, zeros in random_cases(4, 40):
        a, b, output = map(np.float32, scales)
        real = a * (BYTES - zeros[0]).astype(np.float32)[:, None] - b * (BYTES - zeros[1]).astype(np.float32)
        table = np.clip(np.rint(real / output) + zeros[2], -128, 127).astype(np.int8)
        fields = fit_float(table, (ratios(scales)[0], -ratios(scales)[1]), zeros)
        if fields is not None:
            found += 1
            assert np.array_equal(golden_table(fields, Rounding.FLOAT), table)
    assert found >= 38


def test_what_is_no_sum_is_refused():
    product = np.clip(BYTES[:, None] * BYTES // 64, -128, 127).astype(np.int8)
    assert fit_float(product, (1, 1), (0, 0, 0)) is None
    assert fit_fixed(product, (1, 1, 1), (0, 0, 0)) is None
    off = onnx_add_table((0.05, 0.04, 0.06), (0, 0, 0)).copy()
    off[100, 130] += 1
    assert fit_float(off, (0.05 / 0.06, 0.04 / 0.06), (0, 0, 0)) is None


def fixed_table(scales, zeros, signs):
    """TFLite's ADD and SUB (reference/integer_ops/add.h, reference/sub.h)."""
    p = add_parameters(*scales)

    def scaled(difference, name):
        return rounding_divide(saturating_doubling_high_multiply(difference << 20, np.int64(p[f"add_mult_{name}"])),
                               p[f"add_shift_{name}"])

    total = signs[0] * scaled(BYTES - zeros[0], "a")[:, None] + signs[1] * scaled(BYTES - zeros[1], "b")[None, :]
    high = saturating_doubling_high_multiply(total, np.int64(p["add_mult_o"]))
    return np.clip(rounding_divide(high, p["add_shift_o"]) + zeros[2], -128, 127).astype(np.int8)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1)])
def test_fixed_point(signs):
    for scales, zeros in random_cases(5, 40):
        table = fixed_table(scales, zeros, signs)
        fields = fit_fixed(table, scales, zeros, signs)
        assert np.array_equal(golden_table(fields, Rounding.DOUBLE), table)
    assert fit_fixed(table, (1, 1, 1e-9), zeros) is None
