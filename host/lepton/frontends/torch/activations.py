"""Functions of single elements in float32, where no table of 256 entries can stand for them."""

import math

import torch

from lepton.graph import Add, Maximum, Minimum, Mul, Prelu, Sub, Unary

from .steps import Steps

aten = torch.ops.aten

# What PyTorch's SELU is made of (aten/src/ATen/native/Activation.cpp).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _silu(steps: Steps, x) -> str:
    return steps.do(Mul(), steps.operand(x), steps.do(Unary("sigmoid"), steps.operand(x)))


def _gelu(steps: Steps, x, approximate="none") -> str:
    x = steps.operand(x)
    half = steps.do(Mul(), x, steps.operand(0.5))
    if approximate == "none":
        bent = steps.do(Unary("erf"), steps.do(Mul(), x, steps.operand(math.sqrt(0.5))))
    else:
        cube = steps.do(Mul(), steps.do(Mul(), x, x), x)
        inner = steps.do(Add(), x, steps.do(Mul(), cube, steps.operand(0.044715)))
        bent = steps.do(Unary("tanh"), steps.do(Mul(), inner, steps.operand(math.sqrt(2 / math.pi))))
    return steps.do(Mul(), half, steps.do(Add(), bent, steps.operand(1.0)))


def _clamp(steps: Steps, x, low=None, high=None, *, min=None, max=None) -> str:
    name, low, high = steps.operand(x), (low if low is not None else min), (high if high is not None else max)
    name = name if low is None else steps.do(Maximum(), name, steps.operand(low))
    return name if high is None else steps.do(Minimum(), name, steps.operand(high))


def _hardtanh(steps: Steps, x, low=-1.0, high=1.0) -> str:
    return _clamp(steps, x, low, high)


def _gate(steps: Steps, x) -> str:
    """relu6(x + 3)"""
    raised = steps.do(Add(), steps.operand(x), steps.operand(3.0))
    return steps.do(Minimum(), steps.do(Maximum(), raised, steps.operand(0.0)), steps.operand(6.0))


def _hardsigmoid(steps: Steps, x) -> str:
    return steps.do(Mul(), _gate(steps, x), steps.operand(1 / 6))


def _hardswish(steps: Steps, x) -> str:
    return steps.do(Mul(), steps.do(Mul(), steps.operand(x), _gate(steps, x)), steps.operand(1 / 6))


def _leaky_relu(steps: Steps, x, slope=0.01) -> str:
    return steps.do(Prelu(), steps.operand(x), steps.operand(float(slope)))


def _prelu(steps: Steps, x, weight) -> str:
    name, alpha = steps.operand(x), steps.imp.parameter(weight).numpy()
    axes = len(steps.shape(name)) - 2  # behind the channels
    alpha = steps.imp.constant(f"{steps.node.name}/alpha", alpha.reshape(-1, *[1] * axes))
    return steps.do(Prelu(), name, alpha)


def _below(steps: Steps, x: str) -> str:
    return steps.do(Minimum(), x, steps.operand(0.0))


def _elu(steps: Steps, x, alpha=1.0, scale=1.0, input_scale=1.0) -> str:
    name = steps.operand(x)
    below = _below(steps, name) if input_scale == 1 else steps.do(Mul(), _below(steps, name),
                                                                   steps.operand(float(input_scale)))
    bent = steps.do(Mul(), steps.do(Sub(), steps.do(Unary("exp"), below), steps.operand(1.0)),
                    steps.operand(float(alpha)))
    result = steps.do(Add(), steps.do(Unary("relu"), name), bent)  # one of the two is 0
    return result if scale == 1 else steps.do(Mul(), result, steps.operand(float(scale)))


def _celu(steps: Steps, x, alpha=1.0) -> str:
    return _elu(steps, x, alpha, 1.0, 1 / alpha)


def _selu(steps: Steps, x) -> str:
    return _elu(steps, x, _SELU_ALPHA, _SELU_SCALE)


def _log_one_more(steps: Steps, x: str) -> str:
    """log(1 + exp(x)), which does not overflow."""
    away = steps.do(Unary("neg"), steps.do(Unary("abs"), x))
    rest = steps.do(Unary("log"), steps.do(Add(), steps.do(Unary("exp"), away), steps.operand(1.0)))
    return steps.do(Add(), steps.do(Unary("relu"), x), rest)


def _softplus(steps: Steps, x, beta=1.0, threshold=20.0) -> str:
    name = steps.operand(x)
    if beta == 1:
        return _log_one_more(steps, name)
    scaled = steps.do(Mul(), name, steps.operand(float(beta)))
    return steps.do(Mul(), _log_one_more(steps, scaled), steps.operand(1 / float(beta)))


def _log_sigmoid(steps: Steps, x) -> str:
    return steps.do(Unary("neg"), _log_one_more(steps, steps.do(Unary("neg"), steps.operand(x))))


def _mish(steps: Steps, x) -> str:
    name = steps.operand(x)
    return steps.do(Mul(), name, steps.do(Unary("tanh"), _log_one_more(steps, name)))


def _log_softmax(steps: Steps, x, axis, half_to_float=None) -> str:
    name = steps.operand(x)
    axes = (int(axis) % len(steps.shape(name)),)
    shifted = steps.do(Sub(), name, steps.reduced("max", name, axes))
    total = steps.reduced("sum", steps.do(Unary("exp"), shifted), axes)
    return steps.do(Sub(), shifted, steps.do(Unary("log"), total))


def _glu(steps: Steps, x, axis=-1) -> str:
    name = steps.operand(x)
    a, b = (steps.part(name, int(axis), half, 2) for half in range(2))
    return steps.do(Mul(), a, steps.do(Unary("sigmoid"), b))


def _square(steps: Steps, x) -> str:
    return steps.do(Mul(), *[steps.operand(x)] * 2)


def _power(steps: Steps, x, exponent) -> str:
    """Whole numbers by multiplication, halves by roots; no other function of the host is PyTorch's."""
    name = steps.operand(x)
    if not isinstance(exponent, int | float) or not 1 <= abs(exponent) * 2 <= 16 or (exponent * 2) % 1:
        raise steps.error(f"exponents must be multiples of 0.5 from 0.5 to 8, or minus that, not {exponent}")
    whole, half = divmod(int(abs(exponent) * 2), 2)
    parts = [name] * whole + ([steps.do(Unary("sqrt"), name)] if half else [])
    result = parts[0]
    for part in parts[1:]:
        result = steps.do(Mul(), result, part)
    return result if exponent > 0 else steps.do(Unary("reciprocal"), result)


def _reversed_difference(steps: Steps, a, b, alpha=1) -> str:
    if alpha != 1:
        raise steps.error(f"alpha must be 1, not {alpha}")
    return steps.do(Sub(), steps.operand(b), steps.operand(a))


_NAMED = {
    "silu": _silu, "gelu": _gelu, "clamp": _clamp, "hardtanh": _hardtanh, "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish, "leaky_relu": _leaky_relu, "prelu": _prelu, "elu": _elu, "celu": _celu, "selu": _selu,
    "softplus": _softplus, "log_sigmoid": _log_sigmoid, "mish": _mish, "log_softmax": _log_softmax, "glu": _glu,
    "square": _square, "pow": _power, "rsub": _reversed_difference,
    "relu6": lambda steps, x: _clamp(steps, x, 0.0, 6.0),
    "clamp_min": lambda steps, x, low: _clamp(steps, x, low),
    "clamp_max": lambda steps, x, high: _clamp(steps, x, None, high),
}
ACTIVATIONS = {getattr(aten, name): rule for name, rule in _NAMED.items()} | {aten._log_softmax: _log_softmax}
