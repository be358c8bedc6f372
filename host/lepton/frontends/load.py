"""A network's file, whatever framework it comes from."""

from collections.abc import Callable, Mapping
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from lepton.graph import Graph, GraphError
from lepton.graph.states import with_states

# suffix -> module with the loader, its name, and whether it takes shapes
LOADERS = {
    ".tflite": (".tflite", "load_tflite", False),
    ".onnx": (".onnx", "load_onnx", True),
    ".pt2": (".torch", "load_pt2", False),
}

_KERAS = ("load it in Python with KERAS_BACKEND=torch and call lepton.compile(keras.models.load_model(path).eval(), "
          "calibration=...), or convert it: tf.lite.TFLiteConverter.from_keras_model(model) with optimizations and a "
          "representative_dataset makes an int8 .tflite")
_TORCH = ("it holds weights or a TorchScript program, not the network's graph; load the module in Python and call "
          "lepton.compile(module, calibration=...), or save torch.export.export(module, (example,)) as .pt2")
# What to do with files of networks that are none of these.
REMEDIES = {
    ".h5": _KERAS, ".keras": _KERAS, ".hdf5": _KERAS,
    ".pb": "convert the SavedModel first: tf.lite.TFLiteConverter.from_saved_model(folder) makes a .tflite",
    ".pt": _TORCH, ".pth": _TORCH, ".ckpt": _TORCH, ".ts": _TORCH, ".torchscript": _TORCH, ".bin": _TORCH,
    ".safetensors": _TORCH, ".lepton": "it is compiled already; lepton run takes it as it is",
}


def load(path: str | PathLike, calibration: Any = None, progress: Callable[[int, int | None], None] | None = None,
         shapes: Mapping[str, tuple[int, ...]] | None = None, states: Mapping[str, str] | None = None) -> Graph:
    """The graph of a .tflite, .onnx or .pt2 file; the contents decide where the name does not.

    `calibration`: data like the real inputs, for a float network, which is quantized then. `progress`
    is called with the number of inputs done. `shapes`: shapes by name for inputs of an ONNX network that leave some of
    their dimensions open. `states`: inputs that become the output of that name from one inference to the next
    (`lepton.graph.states.with_states`). Raises GraphError for a file of another kind and for what its front end
    refuses, OSError where it cannot be read, ModuleNotFoundError where the front end's extra is not installed.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(8)
    suffix = ".tflite" if head[4:8] == b"TFL3" else path.suffix.lower()
    if suffix not in LOADERS:
        found = repr(path.suffix) if path.suffix else "one without suffix"
        remedy = REMEDIES.get(suffix)
        raise GraphError(f"{path}: a network must be a {', '.join(LOADERS)} file, not {found}"
                         f"{'; ' + remedy if remedy else ''}")
    module, name, shaped = LOADERS[suffix]
    if shapes and not shaped:
        raise GraphError(f"{path}: a {suffix} network states its shapes; they can be given for .onnx networks only")
    options: dict[str, Any] = {"calibration": calibration, "progress": progress}
    if shaped:
        options["shapes"] = shapes or None
    return with_states(getattr(import_module(module, __package__), name)(path, **options), states or {})
