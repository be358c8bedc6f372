"""Verilog as another tool wrote it, under plain Verilator, on the board.

Nothing here shapes the Verilog for speed, and registers and memories begin with what the caller says, as after
power-up: with zeros, ones or random bits.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from lepton.arch import ChipConfig

from .build import HARNESS, LIBRARY, TOP, harness_sources
from .cache import build_root, digest, making_folder
from .compile import Flags, Progress, link, model_objects, quiet, runtime_objects, verilate
from .memory_profile import MemoryProfile, profile
from .rtl_device import RtlDevice

PLAIN_HARNESS = Path(__file__).parent / "plain_harness"
_VERILATOR = ("-Wno-lint", "--x-assign", "unique", "--x-initial", "unique", "--no-timing")


class Initial(IntEnum):
    """What every register and memory holds at the start: `VerilatedContext::randReset`."""

    ZEROS = 0
    ONES = 1
    RANDOM = 2


def build_plain(verilog: str, progress: Progress = quiet, optimize: tuple[str, ...] = ("-O1",)) -> Path:
    """The library that simulates Verilog text with module `lepton_chip`; built if it is not there.

    `optimize`: options for the C++ compiler. Raises `ToolchainError`.
    """
    flags = Flags(_VERILATOR, optimize)
    sources = [PLAIN_HARNESS / "board.cpp", *harness_sources()]
    final = build_root() / "plain" / digest(verilog, flags.key, *(path.read_bytes() for path in sources))
    with making_folder(final, progress) as folder:
        if folder is not None:
            work = folder / "work"
            progress("running Verilator")
            generated = verilate(verilog, TOP, work, flags)
            shim = HARNESS / "fst_shim"
            include = [f"-I{HARNESS}", f"-I{shim}"]
            objects = model_objects(generated, flags, [PLAIN_HARNESS / "board.cpp"], include, progress)
            objects += runtime_objects(generated, flags, [shim], progress)
            link(objects, folder / LIBRARY, ["-shared", f"-Wl,--version-script={HARNESS / 'exports.map'}"])
    return final / LIBRARY


@contextmanager
def opened(library: Path, config: ChipConfig, initial: Initial = Initial.ZEROS,
           memory: str | MemoryProfile = "default") -> Iterator[RtlDevice]:
    """A board with the library of `build_plain`, whose chip begins with `initial`; closed at the end of the block."""
    os.environ["LEPTON_INITIAL"] = str(int(initial))  # read when the model is made
    try:
        device = RtlDevice(library, config, profile(memory))
    finally:
        del os.environ["LEPTON_INITIAL"]
    try:
        yield device
    finally:
        device.close()
