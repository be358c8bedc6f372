"""PyTorch modules to `lepton.graph.Graph`, through torch.export and torchao's PT2E quantization.

    batches     calibration data as tuples of tensors
    quantizer   what becomes int8, and with which observers (PTQ and QAT)
    quantize    export, calibrate, convert, import in one call
    decompose   operators that PyTorch itself can express by others
    functional  graphs without changes in place
    context     the graph under construction
    importer    the converted torch.fx graph -> graph
    layers, tables, affine, moves    one kind of int8 operator each
    floats      operators of the host, on values that are not int8
    report      signal-to-noise of every layer against float
"""

from ..logs import quiet

try:
    with quiet():  # torchao says at length which of its kernels for GPUs are not there
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
