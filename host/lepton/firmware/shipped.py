"""The firmware that ships with the package: `built/` holds the programs' code and says what they were made of.

`python -m lepton.firmware.build` writes it. A test compiles the sources and compares.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from .program import Program

FOLDER = Path(__file__).with_name("built")
_ABOUT = "firmware.json"


def sources_digest() -> str | None:
    """`build.sources_digest` of the sources that it was made of; None where nothing ships."""
    try:
        return json.loads((FOLDER / _ABOUT).read_text())["sources"]
    except FileNotFoundError:
        return None


def load(name: str) -> Program:
    """The program "rom" or "app"."""
    about = json.loads((FOLDER / _ABOUT).read_text())["programs"][name]
    return Program(name, about["base"], (FOLDER / f"{name}.bin").read_bytes(), about["variables"], about["stack"])


def write(programs: Sequence[Program], digest: str, compiler: str) -> None:
    """Make these the programs that ship."""
    FOLDER.mkdir(exist_ok=True)
    for program in programs:
        (FOLDER / f"{program.name}.bin").write_bytes(program.code)
    about = {"sources": digest, "compiler": f"ziglang {compiler}",
             "programs": {p.name: {"base": p.base, "variables": p.variables, "stack": p.stack} for p in programs}}
    (FOLDER / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
