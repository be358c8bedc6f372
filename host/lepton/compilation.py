"""`lepton.compile`: from a network in any form to a compiled model.

`import lepton` reads this file, so what it needs is imported where it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arch import ChipConfig
    from .program import CompiledModel


def compile(network: Any, calibration: Any = None, config: "str | ChipConfig" = "base", *, progress: Any = None,
            shapes: dict[str, tuple[int, ...]] | None = None, states: dict[str, str] | None = None,
            input_type: str | None = None, output_type: str | None = None) -> "CompiledModel":
    """A `lepton.program.CompiledModel` of a network, for a chip given by preset name or `lepton.arch.ChipConfig`.

    network: the path of a .tflite, .onnx or .pt2 file, a `torch.nn.Module`, or a `lepton.graph.Graph`.
    calibration: typical inputs in batches, with which a float network is quantized.
    progress: called with the number of calibration inputs done, and of all, None where that is not known.
    shapes: by name, the shapes of inputs that an .onnx file leaves open.
    states: inputs and the outputs that they become from one inference to the next, as the caches of a decoder:
        {"past": "present"}. They are states of the model then, not inputs and outputs, and start with zeros.
    input_type, output_type: "float32", "int8" or "uint8" inputs and outputs; the network's own where None. Real numbers
        and 8-bit ones are converted by the scale and zero point in the model's `inputs` and `outputs`.

    Raises `lepton.graph.GraphError` for a network that is malformed or not supported, and the errors of reading a file.
    """
    from os import PathLike

    from . import frontends
    from .compiler import compile_graph
    from .graph import Graph, GraphError
    from .graph.states import with_states
    if isinstance(network, str | PathLike):
        network = frontends.load(network, calibration, progress, shapes)
    elif any(f"{c.__module__}.{c.__qualname__}" == "torch.nn.modules.module.Module" for c in type(network).__mro__):
        if calibration is None:
            raise GraphError("a torch module needs calibration data: typical inputs, in batches")
        network = frontends.quantize(network, calibration, progress=progress)
    elif not isinstance(network, Graph):
        raise GraphError(f"a network must be a path, a torch.nn.Module or a lepton.graph.Graph, "
                         f"not {type(network).__name__}")
    network = with_states(network, states or {})
    return compile_graph(network, config, input_type=input_type, output_type=output_type)
