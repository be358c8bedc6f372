"""ONNX Runtime's Python interface over any device: `from lepton import ort as onnxruntime` in place of
`import onnxruntime`, for scripts that make an `InferenceSession` and call `run`.

Results are those of ONNX Runtime as far as docs/onnx.md says.
"""

from .session import InferenceSession, InvalidArgument, NodeArg, RunOptions, SessionOptions, get_available_providers

__all__ = ["InferenceSession", "InvalidArgument", "NodeArg", "RunOptions", "SessionOptions", "get_available_providers"]
