"""Reads .npy and .npz files of a limited size: a .npz file of 100 bytes may say that it unpacks to gigabytes."""

import contextlib
import os
import zipfile
from typing import IO

import numpy as np

MAX_BYTES = 4 << 30  # unpacked: 28 000 pictures of 224 x 224 x 3 bytes, more than a calibration or a test needs at once


def load_arrays(path: str | os.PathLike[str]) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or those of a .npz file by name; arrays of objects are refused.

    Raises `ValueError` for a file that is neither, is damaged, or unpacks to more than `MAX_BYTES`, and `OSError` if
    the file cannot be read.
    """
    try:
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    _check(_array_bytes(file, entry.file_size), f"array {entry.filename!r}")
            _check(sum(entry.file_size for entry in archive.infolist()), "all arrays")
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError, OverflowError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _array_bytes(file: IO[bytes], size: int) -> int:
    """The bytes of an entry: numpy makes room for what the array's own header says before it reads any of them."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    count = dtype.itemsize
    for extent in shape:
        count *= extent
    return max(size, count)


def _check(size: int, what: str) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{what} would take {size} bytes unpacked, and at most {MAX_BYTES} are read; give fewer "
                         "inputs")
