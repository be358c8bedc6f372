"""Files that commands read and write. Written files are complete or absent."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from ..array_files import load_arrays
from ..program import TensorInfo
from ..runtime import InputError
from ..runtime.batches import joined, single_inputs


class FileError(ValueError):
    """A file cannot be written, or does not have what the command needs."""


def is_network(path: str | Path) -> bool:
    """Whether the name is that of a framework's network file."""
    from ..frontends.load import LOADERS
    return Path(path).suffix.lower() in LOADERS


def check_writable(path: str | Path) -> None:
    """Raise `FileError` unless a file can be created or replaced at `path`."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileError(f"{path}: cannot be written, there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise FileError(f"{path}: cannot be written, there is a {'folder' if path.is_dir() else 'device'} of that name")


def write_atomically(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a temporary file in the folder of `path`, then rename it. Raises `FileError`."""
    path = Path(path)
    check_writable(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text_atomically(path: str | Path, text: str) -> None:
    """A text file in UTF-8, complete or absent. Raises `FileError`."""
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def read_inputs(path: str | Path, infos: Iterable[TensorInfo]) -> list[dict[str, np.ndarray]]:
    """Inputs of one or more inferences from a .npy or .npz file.

    `infos` are the model's inputs. An array whose first axis is a multiple of the model's has several inputs. Raises
    `FileError`.
    """
    infos = list(infos)
    try:
        arrays = load_arrays(path)
    except ValueError as error:
        raise FileError(f"{path}: not a .npy or .npz file that can be read ({error})") from error
    if not isinstance(arrays, dict) and len(infos) != 1:
        raise FileError(f"{path}: the model has {len(infos)} inputs ({', '.join(i.name for i in infos)}); "
                        "give a .npz file with one array for each, by name")
    try:
        return single_inputs(arrays, infos)
    except InputError as error:
        raise FileError(f"{path}: {error}") from None


def write_outputs(path: str | Path, results: list[Mapping[str, np.ndarray]]) -> None:
    """Outputs as a .npz file, inferences along the first axis."""
    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:  # np.savez refuses names like "file", which a tensor may have
            for name, values in joined(results).items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)

    write_atomically(path, write)
