"""Functions of floats that frameworks have as one operator: activations, normalizations, powers.

On the host only. For a network from ONNX they are ONNX Runtime's own kernels where that is installed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics import onnxruntime_kernels
from .conditions import axis_of, broadcast, dims, of_type, require

__all__ = ["Function"]

Numbers = dict[str, float]


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype)


def _elu(x: np.ndarray, given: Numbers) -> np.ndarray:
    return np.where(x > 0, x, given.get("alpha", 1.0) * np.expm1(np.minimum(x, 0)))


# Default attributes below are those of the operators' definitions: onnx.ai/onnx/operators, and for those of Microsoft
# docs/ContribOperators.md of ONNX Runtime.

def _selu(x: np.ndarray, given: Numbers) -> np.ndarray:
    alpha = given.get("alpha", 1.6732632)
    gamma = given.get("gamma", 1.0507010)
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: np.ndarray, given: Numbers) -> np.ndarray:
    alpha = given.get("alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


def _gelu(x: np.ndarray, tanh: bool = False) -> np.ndarray:
    if tanh:
        # Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2.
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _fast_gelu(x: np.ndarray, given: Numbers, bias: np.ndarray | None = None) -> np.ndarray:
    return _gelu(x if bias is None else x + bias, tanh=True)


def _quick_gelu(x: np.ndarray, given: Numbers) -> np.ndarray:
    return x / (1 + np.exp(-given.get("alpha", 1.702) * x))


def _log_softmax(x: np.ndarray, given: Numbers) -> np.ndarray:
    axis = int(given.get("axis", -1))
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _normalized(x: np.ndarray, axes: tuple[int, ...], epsilon: float, centred: bool = True) -> np.ndarray:
    x = x.astype(np.float64)
    x = x - x.mean(axis=axes, keepdims=True) if centred else x
    return x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon)


def _trailing(x: np.ndarray, given: Numbers) -> tuple[int, ...]:
    return tuple(range(int(given.get("axis", -1)) % x.ndim, x.ndim))


def _layer_norm(x: np.ndarray, given: Numbers, scale: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    y = _normalized(x, _trailing(x, given), given.get("epsilon", 1e-5)) * scale
    return y if bias is None else y + bias


def _skip_layer_norm(x: np.ndarray, given: Numbers, skip: np.ndarray, scale: np.ndarray,
                     shift: np.ndarray | None = None, bias: np.ndarray | None = None) -> np.ndarray:
    total = x + skip if bias is None else x + skip + bias
    return _layer_norm(total, {"epsilon": given.get("epsilon", 1e-12)}, scale, shift)


def _rms_norm(x: np.ndarray, given: Numbers, scale: np.ndarray) -> np.ndarray:
    return _normalized(x, _trailing(x, given), given.get("epsilon", 1e-5), centred=False) * scale


def _instance_norm(x: np.ndarray, given: Numbers, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    along = (-1, *[1] * (x.ndim - 2))
    y = _normalized(x, tuple(range(2, x.ndim)), given.get("epsilon", 1e-5))
    return y * scale.reshape(along) + bias.reshape(along)


def _group_norm(x: np.ndarray, given: Numbers, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    groups = int(given["num_groups"])
    along = (-1, *[1] * (x.ndim - 2))
    parts = x.reshape(x.shape[0], groups, -1)
    y = _normalized(parts, (2,), given.get("epsilon", 1e-5)).reshape(x.shape)
    return y * scale.reshape(along) + bias.reshape(along)


def _hard_sigmoid(x: np.ndarray, given: Numbers) -> np.ndarray:
    return np.clip(x * np.float32(given.get("alpha", 0.2)) + np.float32(given.get("beta", 0.5)), 0, 1)


def _hard_swish(x: np.ndarray, given: Numbers) -> np.ndarray:
    return x * np.clip(x * np.float32(1 / 6) + np.float32(0.5), 0, 1)


def _shrink(x: np.ndarray, given: Numbers) -> np.ndarray:
    bias = given.get("bias", 0.0)
    limit = given.get("lambd", 0.5)
    return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0))


def _thresholded(x: np.ndarray, given: Numbers) -> np.ndarray:
    return np.where(x > given.get("alpha", 1.0), x, 0)


def _of_one(function: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda x, given: function(x)


def _modulo(x: np.ndarray, given: Numbers, y: np.ndarray) -> np.ndarray:
    return np.fmod(x, y)


_PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # without attributes or other operands
    "Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh, "Atan": np.arctan,
    "Atanh": np.arctanh, "Cos": np.cos, "Cosh": np.cosh, "Sin": np.sin, "Sinh": np.sinh, "Tan": np.tan,
    "Softplus": lambda x: np.logaddexp(x, 0), "Softsign": lambda x: x / (1 + np.abs(x)),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0))}

# ONNX operator -> (x, attributes, *other operands) -> result in float32 or float64
FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    **{name: _of_one(f) for name, f in _PLAIN.items()},
    "BiasGelu": lambda x, given, bias: _gelu(x + bias),
    "Celu": _celu, "Elu": _elu, "FastGelu": _fast_gelu,
    "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
    "Gelu": lambda x, given: _gelu(x, tanh=given.get("approximate") == "tanh"),
    "GroupNormalization": _group_norm, "InstanceNormalization": _instance_norm, "LayerNormalization": _layer_norm,
    "LogSoftmax": _log_softmax, "Mod": _modulo, "Pow": lambda x, given, y: np.power(x, y), "QuickGelu": _quick_gelu,
    "Selu": _selu, "Shrink": _shrink, "SimplifiedLayerNormalization": _rms_norm,
    "SkipLayerNormalization": _skip_layer_norm, "ThresholdedRelu": _thresholded,
}
_MICROSOFT = {"BiasGelu", "FastGelu", "QuickGelu", "SkipLayerNormalization"}  # in ONNX Runtime's domain, not ONNX's
_PER_CHANNEL = {"InstanceNormalization", "GroupNormalization"}  # one parameter for each channel


@dataclass(frozen=True)
class Function(Op):
    """inputs: x float32, and what the ONNX operator has besides; output float32 of the shape that all broadcast to.

    `operator` and `attributes` (name, value) are those of ONNX, and so is the contract; normalizations have the shape
    of x. GroupNormalization is that of opset 21: scale and bias for each channel.
    """

    operands = (1, 5)

    operator: str
    attributes: tuple[tuple[str, float | int | str], ...] = ()

    @property
    def elementwise(self) -> bool:  # type: ignore[override]  # which of the operators it is decides
        return "Normalization" not in self.operator and self.operator != "LogSoftmax"

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        require(self.operator in FUNCTIONS,
                f"the function must be one of {', '.join(FUNCTIONS)}, not {self.operator!r}")
        x = inputs[0]
        if self.operator in _PER_CHANNEL:
            least = 2 if self.operator == "GroupNormalization" else 3  # as ONNX Runtime demands
            require(len(x.shape) >= least and all(dims(t.shape) == (int(x.shape[1]),) for t in inputs.given[1:]),
                    f"parameters must have shape ({x.shape[1] if len(x.shape) > 1 else '?'},)")
            return dims(x.shape), np.dtype(np.float32)
        shape = broadcast(*inputs.given)
        if "Normalization" in self.operator:
            require(shape == dims(x.shape), f"parameters must broadcast to {dims(x.shape)}")
        if "axis" in dict(self.attributes):
            axis_of(int(dict(self.attributes)["axis"]), len(x.shape))
        return shape, np.dtype(np.float32)

    def check(self, signature: Signature) -> None:
        for tensor in signature.inputs.given:
            of_type(tensor, np.float32)

    def compute(self, call: Call) -> np.ndarray:
        domain = "com.microsoft" if self.operator in _MICROSOFT else ""
        own = onnxruntime_kernels.run(call, self.operator, self.attributes, domain=domain)
        if own is not None:
            return own
        with np.errstate(all="ignore"):  # infinities and NaN are results here, as in the framework
            return FUNCTIONS[self.operator](call.x, dict(self.attributes), *call.values.items[1:]).astype(np.float32)
