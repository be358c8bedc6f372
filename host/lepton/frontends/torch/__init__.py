"""PyTorch modules to `lepton.graph.Graph`, through torch.export and torchao's PT2E quantization.

Before the graph, on modules:

    operators   the table: one line for each operator of PyTorch
    steps       the moves in it
    hosts       the operators of the graph in it, for floats on the host
    batches     calibration data as tuples of tensors
    functional  modules without changes in place
    writes      changes in place that other views show
    decompose   operators that PyTorch itself can express by others
    quantizer   what becomes int8, and with which observers (PTQ and QAT)
    quantize    export, calibrate, convert and import in one call

From the converted torch.fx graph to the graph:

    nodes       a node's operator, arguments by name, and module
    execution   the values of the nodes, from one run of the module
    qdq         quantize and dequantize nodes: scales, zero points, weights
    context     the graph under construction
    images      channels in front and behind
    layers, weighted, pools, windows    int8 layers of the chip
    tables      functions of one int8 value
    affine      linear functions of one int8 value for each channel
    moves       moves of int8 values, and of values of the host
    floats      operators of the host, on values that are not int8
    importer    the walk over all nodes

And after it: `report`, the signal-to-noise of every layer against float.
"""

from ..logs import quiet

try:
    with quiet():  # torchao logs which of its kernels for GPUs are missing
        import torch  # noqa: F401
        import torchao  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"PyTorch networks need the package {error.name!r}, which is not installed: pip install 'lepton-chip[torch]'",
        name=error.name) from error

with quiet():
    from .importer import import_converted
    from .quantize import convert, export_module, load_pt2, prepare_qat, quantize
    from .quantizer import LeptonQuantizer
    from .report import LayerNoise, layer_noise

__all__ = ["LayerNoise", "LeptonQuantizer", "convert", "export_module", "import_converted", "layer_noise", "load_pt2",
           "prepare_qat", "quantize"]
