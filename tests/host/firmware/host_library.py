"""The firmware's C units compiled for this machine: the library that two models of the controller's hardware load."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lepton.arch import REGISTERS
from lepton.arch.controller import CONTROLLER_REGISTERS
from lepton.firmware.build import sources

SCHEDULER = (*(f"app/{name}.c" for name in ("scheduler", "clients", "completions", "copies", "events", "records",
                                            "validate")),
             "dif/dif_copy.c", "dif/dif_launcher.c")

CONTROLLER_NAMES = {r.offset: r.name for r in CONTROLLER_REGISTERS.values()}
CHIP_NAMES = {r.offset: r.name for r in REGISTERS.values()}


def compile_library(library: Path, files: Sequence[Path], *options: str) -> None:
    """Compile C files with the warnings of the real build. `options`: the sanitizers, which that build cannot have."""
    top = sources()
    subprocess.run(["gcc", "-shared", "-fPIC", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *options,
                    "-fno-sanitize-recover=all", "-DLEPTON_HOST_BUILD",
                    *(f"-I{top / part}" for part in ("include", "dif", "app")), *map(str, files), "-o", str(library)],
                   check=True)
