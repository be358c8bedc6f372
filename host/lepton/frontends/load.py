"""A network's file, whatever framework it comes from."""

from importlib import import_module
from os import PathLike
from pathlib import Path

from lepton.graph import Graph, GraphError

# suffix -> module with the loader, its name, and whether it takes shapes
LOADERS = {
    ".tflite": (".tflite", "load_tflite", False),
    ".onnx": (".onnx", "load_onnx", True),
    ".pt2": (".torch", "load_pt2", False),
}


def load(path: str | PathLike, calibration=None, progress=None, shapes=None) -> Graph:
    """The graph of a .tflite, .onnx or .pt2 file; the contents decide where the name does not.

    `calibration`: data like the real inputs, for a float network, which is quantized then. `progress`
    is called with the number of inputs done. `shapes`: shapes by name for inputs of an ONNX network that leave some of
    their dimensions open. Raises GraphError for a file of another kind and for what its front end
    refuses, OSError where it cannot be read, ModuleNotFoundError where the front end's extra is not installed.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(8)
    suffix = ".tflite" if head[4:8] == b"TFL3" else path.suffix.lower()
    if suffix not in LOADERS:
        found = repr(path.suffix) if path.suffix else "one without suffix"
        raise GraphError(f"{path}: a network must be a {', '.join(LOADERS)} file, not {found}")
    module, name, shaped = LOADERS[suffix]
    if shapes and not shaped:
        raise GraphError(f"{path}: a {suffix} network states its shapes; they can be given for .onnx networks only")
    options = {"calibration": calibration, "progress": progress}
    if shaped:
        options["shapes"] = shapes or None
    return getattr(import_module(module, __package__), name)(path, **options)
