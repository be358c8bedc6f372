"""LiteRT's Python interface over any device: `from lepton.litert import Interpreter` in place of
`from ai_edge_litert.interpreter import Interpreter`, and nothing else changes in a script.

Results are those of LiteRT's reference kernels, byte for byte (docs/tflite.md).
"""

from .interpreter import Interpreter
from .signatures import SignatureRunner

__all__ = ["Interpreter", "SignatureRunner"]
