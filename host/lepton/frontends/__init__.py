"""Front ends: from a framework's network to `lepton.graph.Graph`, and back to TFLite.

`import_tflite` and `export_tflite` need the extra `tflite`; `quantize` (PyTorch) needs the extra
`torch`. Neither is imported before the function is used.
"""

from .check import check_graph
from .tflite import export_tflite, import_tflite

__all__ = ["check_graph", "export_tflite", "import_tflite", "quantize"]


def __getattr__(name: str):
    if name == "quantize":  # imports torch, which takes seconds: only for who asks
        from .torch import quantize

        return quantize
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
