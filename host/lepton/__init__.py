"""Lepton: an open AI chip with its compiler, driver and cloud."""

__version__ = "0.1.0"


def compile(network, calibration=None, config="base", *, progress=None, shapes=None):
    """A `lepton.program.CompiledModel` of a network, for a chip given by preset name or `lepton.arch.ChipConfig`.

    network: the path of a .tflite, .onnx or .pt2 file, a `torch.nn.Module`, or a `lepton.graph.Graph`.
    calibration: batches like the real inputs, for float networks; they are quantized with it.
    progress: called with the number of batches done.
    shapes: shapes by name for inputs of an .onnx file that leave dimensions open.

    Raises `lepton.graph.GraphError` for what is malformed or not supported, and what reading a file raises.
    """
    from os import PathLike

    from . import frontends
    from .compiler import compile_graph
    from .graph import Graph, GraphError
    if isinstance(network, str | PathLike):
        network = frontends.load(network, calibration, progress, shapes)
    elif any(f"{c.__module__}.{c.__qualname__}" == "torch.nn.modules.module.Module" for c in type(network).__mro__):
        if calibration is None:
            raise GraphError("a torch module needs calibration data: batches like its real inputs")
        network = frontends.quantize(network, calibration, progress=progress)
    elif not isinstance(network, Graph):
        raise GraphError(f"a network must be a path, a torch.nn.Module or a lepton.graph.Graph, "
                         f"not {type(network).__name__}")
    return compile_graph(network, config)
