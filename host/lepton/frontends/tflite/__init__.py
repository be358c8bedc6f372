"""TFLite files to `lepton.graph.Graph` and back.

    reader      bytes -> plain records (`records`), every offset bounded
    options     which fields of an operator's options matter
    importer    records -> graph: tensors, names, uint8 moved to int8
    layers, elementwise, tables, moves    one kind of operator each
    export      graph -> bytes
    quantize    float networks -> int8 ones, with calibration data
"""

from .export import export_tflite
from .importer import import_tflite
from .quantize import load_tflite, quantize_tflite

__all__ = ["export_tflite", "import_tflite", "load_tflite", "quantize_tflite"]
