"""The compiled firmware in the package: `built/` has the programs' code and a digest of their sources.

`python -m lepton.firmware.build` writes it. A test compiles the sources and compares.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from .program import FirmwareProgram

FOLDER = Path(__file__).with_name("built")
_ABOUT = "firmware.json"


def sources_digest() -> str | None:
    """`build.sources_digest` at the time of compilation; None if the package has no compiled firmware."""
    try:
        return json.loads((FOLDER / _ABOUT).read_text())["sources"]
    except FileNotFoundError:
        return None


def load(name: str) -> FirmwareProgram:
    """The program "rom" or "app"."""
    about = json.loads((FOLDER / _ABOUT).read_text())["programs"][name]
    code = (FOLDER / f"{name}.bin").read_bytes()
    return FirmwareProgram(name, about["base"], code, about["variables"], about["stack"])


def write(programs: Sequence[FirmwareProgram], digest: str, compiler: str) -> None:
    """Write the programs into the package."""
    FOLDER.mkdir(exist_ok=True)
    for program in programs:
        (FOLDER / f"{program.name}.bin").write_bytes(program.code)
    about = {"sources": digest, "compiler": f"ziglang {compiler}",
             "programs": {p.name: {"base": p.base, "variables": p.variables, "stack": p.stack} for p in programs}}
    (FOLDER / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")
