"""Front ends: from a framework's network to `lepton.graph.Graph`, and back to TFLite.

`load` takes a file of any of them. `import_tflite` and `export_tflite` need the extra `tflite`, `quantize_tflite` needs
`tflite-float`; `import_onnx`, `load_onnx` and `quantize_onnx` need `onnx`; `quantize` (PyTorch) needs `torch`. The
packages are imported when a function is used.
"""

from typing import Any

from .load import load
from .tflite import export_tflite, import_tflite, quantize_tflite

__all__ = ["export_tflite", "import_onnx", "import_tflite", "load", "load_onnx", "quantize",
           "quantize_onnx", "quantize_tflite"]


def __getattr__(name: str) -> Any:
    if name == "quantize":  # on demand: importing torch takes seconds
        from .torch import quantize

        return quantize
    if name in ("import_onnx", "load_onnx", "quantize_onnx"):
        from . import onnx

        return getattr(onnx, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
