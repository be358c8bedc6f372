"""`import_onnx`: from a file to the graph."""

from lepton.graph import Graph

from ..channels_last import channels_last
from . import elementwise, layers, moving, pools, resizing
from .importer import Importer
from .reader import Shapes, Source, read_model
from .runtime import prepare

CONVERTERS = (elementwise.CONVERTERS | layers.CONVERTERS | moving.CONVERTERS | pools.CONVERTERS
              | resizing.CONVERTERS)


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
    return channels_last(Importer(prepare(model), name or found, CONVERTERS).graph)
