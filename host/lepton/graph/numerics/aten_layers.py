"""PyTorch's layers of floats in numpy: activations, normalizations and attention.

Layer, RMS and group normalizations are computed in float64; their scale and shift are applied before rounding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
Result = Array | tuple[Array, ...]

_ONE = np.float32(1)
_HALF = np.float32(0.5)
# What SELU is made of (aten/src/ATen/native/Activation.cpp).
_SELU_ALPHA = float(np.float32(1.6732632423543772))
_SELU_SCALE = float(np.float32(1.0507009873554805))


def erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.float32)


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.float32)


def gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
        return _HALF * x * (_ONE + np.tanh(inner))
    return x * _HALF * (_ONE + erf(x * np.float32(math.sqrt(0.5))))


def _gate(x: Array) -> Array:
    return np.minimum(np.maximum(x + np.float32(3), 0), np.float32(6))


def elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    below = np.expm1(np.minimum(x, 0) * np.float32(input_scale)) * np.float32(alpha * scale)
    return np.where(x > 0, x * np.float32(scale), below)


def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    scaled = x * np.float32(beta)
    return np.where(scaled > threshold, x, np.log1p(np.exp(np.minimum(scaled, threshold))) / np.float32(beta))


def log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def clamp(x: Array, min: Any = None, max: Any = None) -> Array:
    x = x if min is None else np.maximum(x, np.asarray(min, x.dtype))
    return x if max is None else np.minimum(x, np.asarray(max, x.dtype))


def prelu(x: Array, weight: Array) -> Array:
    slope = weight.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight
    return np.where(x > 0, x, slope * x)


def glu(x: Array, dim: int = -1) -> Array:
    a, b = np.split(x, 2, dim)
    return a * sigmoid(b)


def _normal(x: Array, axes: tuple[int, ...], eps: float, centred: bool = True) -> Array:
    y = x.astype(np.float64)
    y = y - y.mean(axis=axes, keepdims=True) if centred else y
    return y / np.sqrt((y * y).mean(axis=axes, keepdims=True) + eps)


def _affine(y: Array, weight: Array | None, bias: Array | None) -> Array:
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).astype(np.float32)


def _along_channels(parameter: Array | None, rank: int) -> Array | None:
    return None if parameter is None else parameter.reshape(-1, *[1] * (rank - 2))


def layer_norm(x: Array, shape: Sequence[int], weight: Array | None = None, bias: Array | None = None,
               eps: float = 1e-5, cudnn_enable: bool = True) -> Array:
    return _affine(_normal(x, tuple(range(x.ndim - len(shape), x.ndim)), eps), weight, bias)


def rms_norm(x: Array, shape: Sequence[int], weight: Array | None = None, eps: float | None = None) -> Array:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(_normal(x, axes, float(np.finfo(np.float32).eps) if eps is None else eps, False), weight, None)


def group_norm(x: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5,
               cudnn_enabled: bool = True) -> Array:
    y = _normal(x.reshape(x.shape[0], groups, -1), (2,), eps).reshape(x.shape)
    return _affine(y, _along_channels(weight, x.ndim), _along_channels(bias, x.ndim))


def instance_norm(x: Array, weight: Array | None, bias: Array | None, mean: Array | None, variance: Array | None,
                  use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool = True) -> Array:
    if use_input_stats:
        return group_norm(x, x.shape[1], weight, bias, eps)
    return batch_norm(x, weight, bias, mean, variance, False, momentum, eps)


def batch_norm(x: Array, weight: Array | None, bias: Array | None, mean: Array | None, variance: Array | None,
               training: bool = False, momentum: float = 0.1, eps: float = 1e-5, cudnn_enabled: bool = True) -> Array:
    assert mean is not None and variance is not None and not training
    factor = _ONE / np.sqrt(variance + np.float32(eps))
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    if x.ndim < 2:
        return x * factor + shift
    along = (-1, *[1] * (x.ndim - 2))
    return x * factor.reshape(along) + shift.reshape(along)


def attention(query: Array, key: Array, value: Array, mask: Array | None = None, dropout: float = 0.0,
              causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False) -> Array:
    scores = query @ np.swapaxes(key, -1, -2) * np.float32(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (e / e.sum(axis=-1, keepdims=True) @ value).astype(np.float32)


LAYERS: dict[str, Callable[..., Result]] = {
    "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: clamp(x, 0, 6), "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": gelu, "hardsigmoid": lambda x: _gate(x) / np.float32(6),
    "hardswish": lambda x: x * _gate(x) / np.float32(6),
    "hardtanh": lambda x, low=-1, high=1: clamp(x, low, high), "mish": lambda x: x * np.tanh(softplus(x)),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, x * np.float32(slope)), "elu": elu, "prelu": prelu,
    "celu": lambda x, alpha=1.0: elu(x, alpha, 1, 1 / alpha), "selu": lambda x: elu(x, _SELU_ALPHA, _SELU_SCALE),
    "softplus": softplus, "log_sigmoid": log_sigmoid, "glu": glu, "hardshrink": lambda x, edge=0.5: np.where(
        np.abs(x) > edge, x, 0), "softshrink": lambda x, edge=0.5: np.sign(x) * np.maximum(np.abs(x) - edge, 0),
    "threshold": lambda x, edge, other: np.where(x > edge, x, other), "sigmoid": sigmoid,
    "layer_norm": layer_norm, "rms_norm": rms_norm, "group_norm": group_norm, "instance_norm": instance_norm,
    "batch_norm": batch_norm, "scaled_dot_product_attention": attention,
    "linear": lambda x, weight, bias=None: x @ weight.T if bias is None else x @ weight.T + bias,
    "embedding": lambda weight, places, *more: weight[places],
}
