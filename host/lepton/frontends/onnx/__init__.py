"""ONNX networks: QDQ and QOperator models as ONNX Runtime computes them, float models after calibration."""

from .convert import import_onnx, load_onnx

__all__ = ["import_onnx", "load_onnx", "quantize_onnx"]


def __getattr__(name: str):
    if name == "quantize_onnx":  # imports ONNX Runtime's quantizer, which only float networks need
        from .calibrate import quantize_onnx

        return quantize_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
