"""Lepton: an open AI chip with its compiler, driver and cloud."""

from typing import Any

from .compilation import compile

__all__ = ["__version__", "compile"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("LeptonChip", "LeptonCloud", "LeptonToolkit"):  # on demand: `import lepton` stays quick
        from . import toolkit

        return getattr(toolkit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
