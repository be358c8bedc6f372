"""Functions of floats in numpy against ONNX Runtime's kernels, which compute them where the package is installed."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

from lepton.graph import Arithmetic, Call, Function, OperandList, Tensor
from lepton.graph.numerics import onnxruntime_kernels
from lepton.graph.ops.functions import FUNCTIONS

SHAPE = (2, 6, 3)
# Shapes of the operands after the first, and attributes; the others have neither.
OPERANDS: dict[str, list[tuple[int, ...]]] = {
    "BiasGelu": [(3,)], "FastGelu": [(3,)], "GroupNormalization": [(6,), (6,)], "InstanceNormalization": [(6,), (6,)],
    "LayerNormalization": [(3,), (3,)], "SimplifiedLayerNormalization": [(3,)], "Mod": [SHAPE], "Pow": [SHAPE],
    "SkipLayerNormalization": [SHAPE, (3,), (3,), (3,)]}
ATTRIBUTES: dict[str, tuple[tuple[str, float | int | str], ...]] = {
    "Celu": (("alpha", 0.7),), "Elu": (("alpha", 1.3),), "GroupNormalization": (("num_groups", 2), ("epsilon", 0.01)),
    "LayerNormalization": (("axis", -1), ("epsilon", 0.1)), "LogSoftmax": (("axis", 1),), "Mod": (("fmod", 1),),
    "QuickGelu": (("alpha", 1.1),), "Shrink": (("bias", 0.2), ("lambd", 0.6)), "ThresholdedRelu": (("alpha", 1.5),)}
DOMAINS = {"Acosh": (1, 3), "Acos": (-1, 1), "Asin": (-1, 1), "Atanh": (-0.9, 0.9), "Pow": (0.5, 2), "Tan": (-1, 1)}
CASES = [(name, ATTRIBUTES.get(name, ())) for name in FUNCTIONS] + [
    (name, ()) for name in ATTRIBUTES if name not in ("GroupNormalization", "Mod")] + [
    ("Gelu", (("approximate", "tanh"),))]


@pytest.mark.parametrize(("name", "attributes"), CASES)
def test_numpy_is_within_a_few_units_of_onnx_runtime(name, attributes, monkeypatch):
    random = np.random.default_rng(len(name))
    low, high = DOMAINS.get(name, (-3, 3))
    shapes = [SHAPE, *OPERANDS.get(name, [])]
    values = [random.uniform(low, high, shape).astype(np.float32) for shape in shapes]
    tensors = OperandList(Tensor(f"x{i}", v.shape, v.dtype) for i, v in enumerate(values))
    call = Call(Arithmetic.FLOAT, tensors, Tensor("y", SHAPE, np.dtype(np.float32)), OperandList(values))
    op = Function(name, attributes)
    op.check(call)
    assert op.infer(tensors) == (SHAPE, np.float32)
    ran = []
    run = onnxruntime_kernels.run

    def noted(*arguments, **named):
        ran.append(run(*arguments, **named))
        return ran[-1]

    monkeypatch.setattr(onnxruntime_kernels, "run", noted)
    wanted = op.compute(call)
    assert ran[0] is wanted, "ONNX Runtime computes it"
    monkeypatch.setenv(onnxruntime_kernels.SWITCH, "0")
    np.testing.assert_allclose(op.compute(call), wanted, rtol=1e-5, atol=1e-5)
