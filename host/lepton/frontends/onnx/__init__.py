"""ONNX networks: QDQ and QOperator models as ONNX Runtime computes them, float models after calibration."""

from .convert import import_onnx

__all__ = ["import_onnx"]
