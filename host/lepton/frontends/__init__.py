"""Front ends: from a framework's network to `lepton.graph.Graph`, and back to TFLite.

`load` takes a file of any of them. `import_tflite` and `export_tflite` need the extra `tflite`, `quantize_tflite` needs
`tflite-float`; `import_onnx`, `load_onnx` and `quantize_onnx` need `onnx`; `quantize` (PyTorch) needs `torch`. The
packages are imported when a function is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .load import load

if TYPE_CHECKING:
    from .tflite import export_tflite, import_tflite, quantize_tflite

__all__ = ["export_tflite", "import_onnx", "import_tflite", "load", "load_onnx", "quantize",
           "quantize_onnx", "quantize_tflite"]

# Front ends are imported on demand: importing torch takes seconds, and compiling a graph needs none of them.
_MODULES = {"export_tflite": ".tflite", "import_tflite": ".tflite", "quantize_tflite": ".tflite",
            "import_onnx": ".onnx", "load_onnx": ".onnx", "quantize_onnx": ".onnx", "quantize": ".torch"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
