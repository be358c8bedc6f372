"""Writes docs/reference/ingest.json, the OpenAPI document of the service: `python -m lepton.service.docs`.

A test compares the file in the repository with the text that this module makes.
"""

import json
import sys
from pathlib import Path

from .app import bare_app

COMMAND = "python -m lepton.service.docs"


def page() -> Path:
    """The document's file in the source tree of this module."""
    return Path(__file__).resolve().parents[3] / "docs" / "reference" / "ingest.json"


def text() -> str:
    """The document as JSON."""
    return json.dumps(bare_app().openapi(), indent=1) + "\n"


if __name__ == "__main__":
    if not page().exists() or page().read_text(encoding="utf-8") != text():
        page().write_text(text(), encoding="utf-8")
        sys.stdout.write(f"rewrote {page()}\n")
