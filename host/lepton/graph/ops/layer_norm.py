"""Layer normalization of int8."""

from dataclasses import dataclass

import numpy as np

from ..core import Call, Op, OperandList, Shape, Signature, Tensor
from ..numerics.row_norm import NormParameters, NormRange, norm_parameters, normalize
from .conditions import dims, int8, of_type, require, same_type

__all__ = ["LayerNorm"]


@dataclass(frozen=True)
class LayerNorm(Op):
    """inputs: x int8 (..., channels), gamma float32 (channels,), optionally beta float32 (channels,), both constant.

    (x - mean) / sqrt(variance + epsilon) * gamma + beta along the last axis, each row by itself (Ba, Kiros and Hinton,
    "Layer Normalization", 2016); without `center`, the root of the mean square in place of mean and variance (Zhang
    and Sennrich, "Root Mean Square Layer Normalization", 2019). Frameworks compute it in float32, in an order of sums
    that depends on the processor. This is in integers, as on the chip, and within 1 of a framework's rounded result.
    """

    operands = (2, 3)

    epsilon: float = 1e-5
    center: bool = True

    def infer(self, inputs: OperandList[Tensor]) -> tuple[Shape, np.dtype]:
        shape = dims(inputs[0].shape)
        require(len(shape) >= 1 and all(dims(t.shape) == shape[-1:] for t in inputs.given[1:]),
                f"gamma and beta must have shape {shape[-1:]}")
        return shape, np.dtype(np.int8)

    def check(self, signature: Signature) -> None:
        x = signature.inputs[0]
        output = signature.output
        require(same_type(x, output) == np.int8, f"{x.name!r} must be int8")
        int8(x, output)
        for tensor in signature.inputs.given[1:]:
            of_type(tensor, np.float32)
            require(tensor.data is not None, f"{tensor.name!r} must be constant")
        try:
            self.parameters(signature.inputs, output)
        except NormRange as error:
            require(False, str(error))

    def parameters(self, inputs: OperandList[Tensor], output: Tensor) -> NormParameters:
        """What the arithmetic needs of the operands and the result's scale. Raises `NormRange`."""
        gamma, *beta = (np.asarray(tensor.data) for tensor in inputs.given[1:])
        return norm_parameters(gamma, beta[0] if beta else None, self.epsilon, float(inputs[0].scale),
                               float(output.scale))

    def compute(self, call: Call) -> np.ndarray:
        parameters = call.once("parameters", lambda: self.parameters(call.inputs, call.output))
        rows = call.x.reshape(-1, call.x.shape[-1])
        zeros = call.inputs[0].zero_point, call.output.zero_point
        return normalize(rows, parameters, self.center, zeros).reshape(call.x.shape)
