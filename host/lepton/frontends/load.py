"""A network's file, whatever framework it comes from."""

from importlib import import_module
from os import PathLike
from pathlib import Path

from lepton.graph import Graph, GraphError

# suffix -> module with the loader, its name, and whether it takes float networks with calibration data
LOADERS = {
    ".tflite": (".tflite", "import_tflite", False),
    ".onnx": (".onnx", "load_onnx", True),
    ".pt2": (".torch", "load_pt2", True),
}


def load(path: str | PathLike, calibration=None, progress=None) -> Graph:
    """The graph of a .tflite, .onnx or .pt2 file; the contents decide where the name does not.

    `calibration`: data like the real inputs, for a float ONNX or PyTorch network, which is quantized then. `progress`
    is called with the number of inputs done. Raises GraphError for a file of another kind and for what its front end
    refuses, OSError where it cannot be read, ModuleNotFoundError where the front end's extra is not installed.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(8)
    suffix = ".tflite" if head[4:8] == b"TFL3" else path.suffix.lower()
    if suffix not in LOADERS:
        found = repr(path.suffix) if path.suffix else "one without suffix"
        raise GraphError(f"{path}: a network must be a {', '.join(LOADERS)} file, not {found}")
    module, name, calibrated = LOADERS[suffix]
    loader = getattr(import_module(module, __package__), name)
    if not calibrated:
        if calibration is not None:
            raise GraphError(f"{path}: a {suffix} network is quantized already; compile it without calibration data")
        return loader(path)
    return loader(path, calibration=calibration, progress=progress)
