"""A Verilated design and the C++ that runs it, as one shared library."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from .compile import INSTRUMENT, Flags, Generated, Progress, link, model_objects, quiet, runtime_objects, verilate
from .inputs import take_inputs_while_low

HARNESS = Path(__file__).parent / "harness"
SIGN_EXTEND = "sign_extend.h"  # of the harness; every file of the generated C++ includes it
EXPORTS = HARNESS / "exports.map"

VERILATOR = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert",
             "--compiler-include", SIGN_EXTEND)
# Without AVX gcc does not spill integers into vector registers, whose way back costs more than memory's.
_X86 = platform.machine() in ("x86_64", "AMD64")
OPTIMIZE = ("-O3", "-march=native", *(["-mno-avx"] if _X86 else []))


@dataclass(frozen=True)
class Runner:
    """The C++ that runs a design: its source, and folders with headers for it and for Verilator's runtime."""

    source: Path
    include: tuple[Path, ...]
    runtime_include: tuple[Path, ...] = ()


def verilate_for_library(verilog: str, top: str, folder: Path, flags: Flags) -> Generated:
    """Like `verilate`, for a runner that changes inputs only while the clock is low; `flags` extend `VERILATOR`."""
    generated = verilate(verilog, top, folder, flags)
    take_inputs_while_low(generated)
    shutil.copy(HARNESS / SIGN_EXTEND, folder)
    return generated


def make_library(generated: Generated, runner: Runner, target: Path, flags: Flags, progress: Progress = quiet,
                 profile: tuple[str, ...] = ()) -> None:
    """Compile and link `target`; `profile` is empty, INSTRUMENT or PROFILE. Raises `ToolchainError`."""
    objects = model_objects(generated, flags, [runner.source], [f"-I{folder}" for folder in runner.include], progress,
                            profile)
    objects += runtime_objects(generated, flags, runner.runtime_include, progress)
    progress("linking")
    instrumented = ["-fprofile-generate"] if profile == INSTRUMENT else []
    link(objects, target, ["-shared", f"-Wl,--version-script={EXPORTS}", *instrumented])
