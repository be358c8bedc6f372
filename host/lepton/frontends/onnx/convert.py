"""`import_onnx`: from a file to the graph."""

from os import PathLike
from pathlib import Path
from typing import Any

from lepton.graph import Graph
from lepton.graph.passes import apply

from ..calibration import Calibration
from .floating import in_float
from .importer import OnnxImporter
from .reader import Shapes, Source, read_model
from .runtime import prepare
from .table import CONVERTERS


def import_onnx(source: Source, name: str | None = None, shapes: Shapes | None = None) -> Graph:
    """A quantized ONNX network as ONNX Runtime computes it: a path, the bytes of a file, or a model.

    QDQ and QOperator networks with int8 or uint8 activations and weights. Inputs and outputs keep the model's names,
    shapes (an open batch becomes 1) and data types. What ONNX Runtime leaves in float runs on the host. `shapes`
    fixes open dimensions, by input name.

    Raises GraphError for a malformed file, an operator or option that is not supported, a layer that is not
    quantized and dimensions that are left open; OSError when a file cannot be read; ModuleNotFoundError when the
    extra `onnx` is not installed.
    """
    model, found = read_model(source, shapes)
    importer = OnnxImporter(prepare(model), name or found, CONVERTERS, in_float)
    return apply(importer.graph, "channels-last", "collapse-moves", "integer-rows", "remove-unused")


def load_onnx(path: Source, calibration: Calibration | None = None, progress: Any = None, **options: Any) -> Graph:
    """`import_onnx` for the command line: with `calibration`, a float network is quantized first (`quantize_onnx`).

    `options` are those of `quantize_onnx`. Raises what the two raise.
    """
    if calibration is None:
        return import_onnx(path, shapes=options.get("shapes"))
    from .calibrate import quantize_onnx

    name = Path(path).stem if isinstance(path, str | PathLike) else None
    return import_onnx(quantize_onnx(path, calibration, progress=progress, **options), name)
