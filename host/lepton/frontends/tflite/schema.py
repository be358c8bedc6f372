"""The `tflite` package, imported when it is needed, with an error that says what to install."""

from functools import cache
from types import SimpleNamespace


@cache
def load_schema() -> SimpleNamespace:
    """The packages `tflite` (generated from TFLite's schema) and `flatbuffers`.

    Raises ModuleNotFoundError with the remedy when the extra is not installed.
    """
    try:
        import flatbuffers
        import tflite
        from flatbuffers import flexbuffers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"TFLite files need the package {error.name!r}, which is not installed: pip install 'lepton-chip[tflite]'",
            name=error.name) from error
    return SimpleNamespace(tflite=tflite, flatbuffers=flatbuffers, flexbuffers=flexbuffers)


def enum_names(enum: type) -> dict[int, str]:
    """Value to name of one of the schema's enumerations."""
    return {value: name for name, value in vars(enum).items() if isinstance(value, int) and not name.startswith("_")}
