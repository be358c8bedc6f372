"""From a component with the chip's ports to a loadable simulation of the board."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from amaranth.lib import wiring

from .cache import build_root, digest, making_folder
from .compile import INSTRUMENT, PROFILE, Flags, Progress, quiet, run
from .library import HARNESS, OPTIMIZE, VERILATOR, Runner, make_library, verilate_for_library
from .toolchain import compiler
from .verilog import generate

Trainer = Callable[[Path], list[str]]  # from a library to the command that runs it

TRAINING = Path(__file__).parent / "training.py"
INPUTS = Path(__file__).parent / "inputs.py"
TOP = "lepton_chip"  # name of the Verilog module
LIBRARY = "board.so"
_RUNNER = Runner(HARNESS / "board.cpp", (HARNESS, HARNESS / "fst_shim"), (HARNESS / "fst_shim",))


def harness_sources() -> list[Path]:
    """Every file of the C++ harness, in a fixed order."""
    return sorted(path for path in HARNESS.rglob("*") if path.is_file())


def build_component(component: wiring.Component, *, waves: bool = False, progress: Progress = quiet) -> Path:
    """The shared library that simulates `component` on the board; built if it is not there.

    `component` has the ports of `lepton_hdl.chip.Chip`. The library is keyed by the
    Verilog text, the harness, the compilers and their flags, and the processor. With
    `waves` it can record signals, and runs slower. Raises `ToolchainError` where a tool is missing or fails.
    """
    progress("generating Verilog")
    return build_verilog(generate(component, TOP, fields=waves), waves=waves, progress=progress)


def build_verilog(verilog: str, *, waves: bool = False, progress: Progress = quiet,
                  trainer: Trainer | None = None) -> Path:
    """Like `build_component`, from Verilog text with module `lepton_chip`.

    `trainer` returns the command that runs a typical workload on a library; the final library is compiled with the
    profile of that run.
    """
    flags = Flags((*VERILATOR, *(["--trace-fst", "--trace-structs"] if waves else [])), OPTIMIZE)
    if not compiler().profiles:
        trainer = None
    trained_by = TRAINING.read_bytes() if trainer else b""
    made_by = [INPUTS.read_bytes(), *(path.read_bytes() for path in harness_sources())]
    key = digest(verilog, flags.key, trained_by, *made_by)
    final = build_root() / "board" / key
    with making_folder(final, progress) as folder:
        if folder is not None:
            _build(verilog, folder, flags, progress, trainer)
    return final / LIBRARY


def _build(verilog: str, folder: Path, flags: Flags, progress: Progress, trainer: Trainer | None) -> None:
    start = time.monotonic()
    work = folder / "work"
    progress("running Verilator")
    generated = verilate_for_library(verilog, TOP, work, flags)
    if trainer is not None:
        make_library(generated, _RUNNER, work / LIBRARY, flags, progress, INSTRUMENT)
        progress("training")
        run(trainer(work / LIBRARY), "training")
    make_library(generated, _RUNNER, folder / LIBRARY, flags, progress, PROFILE if trainer else ())
    (work / f"{TOP}.v").rename(folder / f"{TOP}.v")
    shutil.rmtree(work)
    progress(f"built the board in {time.monotonic() - start:.1f} s")


def build_cached(sources_key: str, make: Callable[[], wiring.Component], *, waves: bool = False,
                 progress: Progress = quiet, trainer: Trainer | None = None) -> Path:
    """Like `build_component`, without elaborating a design whose sources have not changed.

    `sources_key` names everything that `make()` depends on. Elaborating and
    converting a chip takes seconds to a minute; opening a board that is built must not.
    """
    shown = "-fields" if waves else ""
    remembered = build_root() / "verilog" / f"{TOP}-from-sources-{sources_key}{shown}.v"
    if remembered.exists():
        return build_verilog(remembered.read_text(), waves=waves, progress=progress, trainer=trainer)
    progress("generating Verilog")
    verilog = generate(make(), TOP, fields=waves)
    temporary = remembered.with_suffix(f".{time.time_ns()}")
    temporary.write_text(verilog)
    temporary.replace(remembered)
    return build_verilog(verilog, waves=waves, progress=progress, trainer=trainer)
