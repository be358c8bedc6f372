"""Calibration data in files, for every front end that quantizes."""

from pathlib import Path

import numpy as np

from lepton.graph import GraphError


def load_calibration(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or those of a .npz file by name.

    Raises GraphError for what is neither, OSError where the file cannot be read.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise GraphError(f"{path}: not a .npy or .npz file of calibration data ({error})") from None
