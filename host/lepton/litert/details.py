"""What LiteRT says of a tensor, and whether an array fits it."""

from typing import Any

import numpy as np

from ..frontends.tflite.records import RawModel, RawTensor
from ..frontends.tflite.tensors import DTYPES

Details = dict[str, Any]  # as LiteRT gives them


def check_value(array: np.ndarray, tensor: RawTensor, where: str) -> None:
    """Raise ValueError, in LiteRT's words, where an array does not fit a tensor."""
    if array.dtype != DTYPES[tensor.dtype]:
        raise ValueError(f"Cannot set tensor: Got value of type {array.dtype.name.upper()} but expected type "
                         f"{tensor.dtype} for {where}, name: {tensor.name}")
    if array.ndim != len(tensor.shape):
        raise ValueError(f"Cannot set tensor: Dimension mismatch. Got {array.ndim} but expected {len(tensor.shape)} "
                         f"for {where}.")
    for axis, (found, expected) in enumerate(zip(array.shape, tensor.shape, strict=True)):
        if found != expected:
            raise ValueError(f"Cannot set tensor: Dimension mismatch. Got {found} but expected {expected} for "
                             f"dimension {axis} of {where}.")


def details_of(raw: RawModel, index: int) -> Details:
    """What LiteRT says of a tensor."""
    tensor = raw.tensors[index]
    q = tensor.quantization
    scales = np.zeros(0, np.float32) if q is None else q.scale.astype(np.float32)
    zeros = np.zeros(0, np.int32) if q is None else q.zero_point.astype(np.int32)
    single = (float(scales[0]), int(zeros[0])) if scales.size == zeros.size == 1 else (0.0, 0)
    return {
        "name": tensor.name, "index": index, "shape": np.array(tensor.shape, np.int32),
        "shape_signature": np.array(tensor.signature or tensor.shape, np.int32), "dtype": DTYPES[tensor.dtype].type,
        "quantization": single,
        "quantization_parameters": {"scales": scales, "zero_points": zeros,
                                    "quantized_dimension": 0 if q is None else q.dimension, "block_size": 0},
        "sparsity_parameters": {},
    }
