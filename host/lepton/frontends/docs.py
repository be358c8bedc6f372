"""Writes docs/operators.md from the front ends' tables: `python -m lepton.frontends.docs`.

The page is kept in the repository so that errors can point to it; a test compares it with what this module makes.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMAND = "python -m lepton.frontends.docs"
_WIDTH = 120


def path() -> Path:
    """docs/operators.md of the source tree that contains this module."""
    return Path(__file__).resolve().parents[3] / "docs" / "operators.md"


def page() -> str:
    """The text of docs/operators.md. Needs the packages of the extras `tflite` and `onnx`."""
    from .onnx.convert import CONVERTERS as onnx_converters
    from .onnx.recurrent import RECURRENT
    from .tflite.importer import CONVERT as tflite_operators

    lines = ["# Operators", "", f"<!-- Generated from host/lepton/frontends by `{COMMAND}`; do not edit. -->", "",
             "What each front end takes, whether chip or host computes it. `lepton compile --explain` says what runs",
             "where and why. Data types and options that an operator does not take are named in the error."]
    for title, names in (("TFLite", tflite_operators), ("ONNX", [*onnx_converters, *RECURRENT])):
        lines += ["", f"## {title}", "", *_paragraph(sorted(names))]
    return "\n".join(lines) + "\n"


def _paragraph(names: Iterable[str]) -> Iterator[str]:
    line = ""
    for name in names:
        cell = f"`{name}`"
        if len(line) + len(cell) + 3 > _WIDTH:
            yield f"{line},"
            line = ""
        line = f"{line}, {cell}" if line else cell
    yield line


def main() -> int:
    """Rewrite the page and say whether it changed."""
    text = page()
    file = path()
    changed = not file.is_file() or file.read_text() != text
    if changed:
        file.write_text(text)
    print(f"written: {file}" if changed else f"{file.name} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
