"""A simulated board behind a pseudo-terminal: its own top level, an SDRAM chip, and a serial line.

    with SimulatedSerialBoard("tiny") as board:
        with lepton.device.open(board.url, config="tiny") as device: ...

The RTL is the one that goes onto the board (`lepton_hdl.boards.system`); only clock generation and pins are left out.
"""

import ctypes
import os
import select
import shutil
import termios
import threading
import tty
from pathlib import Path

import numpy as np
from lepton.arch import PRESETS, ChipConfig
from lepton.device import DeviceError
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM, SdramChip
from lepton_hdl.boards.system import BoardSystem

from .cache import build_root, digest, making_folder
from .compile import Flags, Progress, quiet
from .library import EXPORTS, HARNESS, OPTIMIZE, SIGN_EXTEND, VERILATOR, Runner, make_library, verilate_for_library
from .verilog import generate

SOURCES = Path(__file__).parent / "serial_harness"
_RUNNER = Runner(SOURCES / "serial_board.cpp", (SOURCES, HARNESS))
_SHARED = (HARNESS / "violations.h", HARNESS / SIGN_EXTEND, EXPORTS, Path(__file__).parent / "inputs.py")
TOP = "lepton_board"
LIBRARY = "board.so"
_PICOSECONDS = 1000  # a nanosecond
_BURST_BYTES = 4096
_CHUNK = 20_000  # cycles between looks at the pseudo-terminal
_IDLE_CYCLES = 4_000_000  # without a byte either way: the board sleeps until one comes


class _BoardFigures(ctypes.Structure):
    """`lepton::SdramFigures` of serial_harness/sdram.h."""

    _fields_ = (*((name, ctypes.c_uint32) for name in ("bank_bits", "row_bits", "column_bits", "cas_latency")),
                *((name, ctypes.c_uint64) for name in ("period", "rcd", "rp", "ras", "rc", "rrd", "rfc", "wr",
                                                       "refresh_interval", "power_up")),
                ("mrd_cycles", ctypes.c_uint32), ("padding", ctypes.c_uint32))


class _BoardStatus(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_uint64) for name in ("cycles", "violations", "unsent", "received", "refreshes")),
                ("irq", ctypes.c_uint32), ("tx", ctypes.c_uint32))


def _figures(chip: SdramChip, clock_hz: float) -> _BoardFigures:
    times = {name: round(getattr(chip, name) * _PICOSECONDS) for name in ("rcd", "rp", "ras", "rc", "rrd", "rfc", "wr")}
    return _BoardFigures(
        bank_bits=chip.bank_bits, row_bits=chip.row_bits, column_bits=chip.column_bits, cas_latency=chip.cas_latency,
        period=round(1e12 / clock_hz), refresh_interval=round(chip.refresh_ms * 1e9 / (1 << chip.row_bits)),
        power_up=round(chip.power_up_us * 1e6), mrd_cycles=chip.mrd, **times)


def build(system: BoardSystem, progress: Progress = quiet) -> Path:
    """The library that simulates a board; built if it is not there. Raises `ToolchainError`."""
    progress("generating Verilog")
    verilog = generate(system, TOP, fields=False)
    flags = Flags(VERILATOR, OPTIMIZE)
    key = digest(verilog, flags.key, *(path.read_bytes() for path in (*sorted(SOURCES.iterdir()), *_SHARED)))
    final = build_root() / "serial_board" / key
    with making_folder(final, progress) as folder:
        if folder is not None:
            generated = verilate_for_library(verilog, TOP, folder / "work", flags)
            make_library(generated, _RUNNER, folder / LIBRARY, flags, progress)
            shutil.rmtree(folder / "work")
    return final / LIBRARY


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    u64 = ctypes.c_uint64
    handle = ctypes.c_void_p
    for name, result, arguments in (
        ("open", handle, [ctypes.POINTER(_BoardFigures), u64]),
        ("close", None, [handle]),
        ("send", None, [handle, ctypes.c_char_p, u64]),
        ("receive", u64, [handle, ctypes.c_char_p, u64]),
        ("run", None, [handle, u64]),
        ("memory", handle, [handle]),
        ("status", None, [handle, ctypes.POINTER(_BoardStatus)]),
        ("violation", ctypes.c_char_p, [handle, u64]),
    ):
        function = getattr(library, f"lepton_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


class SerialBoardModel:
    """The board and its SDRAM chip, stepped by the caller. Bytes of the line go in and come out.

    `memory`: what the SDRAM holds, shape (size,), dtype uint8, no copy. `sdram`: the chip on the board; the controller
    is made for `system.sdram_chip`. `rate_error`: by how much the host's baud rate is above the board's (0.02 = 2 %).
    `library`: what `build` gave for an equal system.
    """

    def __init__(self, system: BoardSystem, progress: Progress = quiet, *, sdram: SdramChip | None = None,
                 rate_error: float = 0.0, library: Path | None = None):
        self._library = _load(library or build(system, progress))
        figures = _figures(sdram or system.sdram_chip, system.clock_hz)
        period = round(256 * system.divisor / (1 + rate_error))
        self._board = ctypes.c_void_p(self._library.lepton_open(ctypes.byref(figures), period))
        address = self._library.lepton_memory(self._board)
        self.memory = np.ctypeslib.as_array((ctypes.c_uint8 * system.sdram_chip.size).from_address(address))

    def send(self, data: bytes) -> None:
        """Bytes for the board, behind those that it has not received yet."""
        self._library.lepton_send(self._board, data, len(data))

    def receive(self, size: int = _BURST_BYTES) -> bytes:
        """At most `size` bytes that the board has sent."""
        buffer = ctypes.create_string_buffer(size)
        count = self._library.lepton_receive(self._board, buffer, size)
        return buffer.raw[:count]

    def run(self, cycles: int) -> None:
        """Let cycles pass. Raises `DeviceError` where the controller breaks a rule of the SDRAM chip."""
        self._library.lepton_run(self._board, cycles)
        if self.status().violations:
            raise DeviceError("the SDRAM controller broke a rule: " + "; ".join(self.violations))

    def status(self) -> _BoardStatus:
        """Cycles so far, bytes not sent yet, refreshes, and the levels of pins."""
        status = _BoardStatus()
        self._library.lepton_status(self._board, ctypes.byref(status))
        return status

    @property
    def violations(self) -> list[str]:
        """The broken rules (the first 64), with their cycles."""
        count = min(64, self.status().violations)
        return [self._library.lepton_violation(self._board, i).decode() for i in range(count)]

    def close(self) -> None:
        """End the simulation; `memory` may not be used afterwards."""
        if self._board:
            self.memory = np.zeros(0, np.uint8)
            self._library.lepton_close(self._board)
            self._board = ctypes.c_void_p()


class SimulatedSerialBoard:
    """A board that runs in a thread and answers on the pseudo-terminal `path`.

    Time stands still for the board when no byte has passed either way for a while.
    """

    def __init__(self, config: str | ChipConfig = "tiny", *, sdram: SdramChip = ULX3S_SDRAM, clock_hz: int = 60_000_000,
                 baud: int = 3_000_000, progress: Progress = quiet, rate_error: float = 0.0):
        chosen = PRESETS[config] if isinstance(config, str) else config
        self.model = SerialBoardModel(BoardSystem(chosen, sdram, clock_hz, baud), progress, rate_error=rate_error)
        self._master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        self.path = os.ttyname(slave)
        self._slave = slave  # kept open, so that a host may come and go
        self.problem: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulated serial board", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """For `lepton.device.open`."""
        return f"serial://{self.path}"

    def _run(self) -> None:
        try:
            self._serve()
        except (DeviceError, OSError) as error:
            self.problem = str(error)

    def _serve(self) -> None:
        idle = 0
        while not self._stop.is_set():
            asleep = idle >= _IDLE_CYCLES and not self.model.status().unsent
            readable, _, _ = select.select([self._master], [], [], 0.05 if asleep else 0)
            if readable:
                self.model.send(os.read(self._master, _BURST_BYTES))
            elif asleep:
                continue
            self.model.run(_CHUNK)
            answer = self.model.receive()
            idle = 0 if readable or answer or self.model.status().unsent else idle + _CHUNK
            while answer and not self._stop.is_set():
                answer = answer[os.write(self._master, answer):]

    def close(self) -> None:
        """Stop the board. Raises `DeviceError` where it broke a rule meanwhile."""
        self._stop.set()
        self._thread.join()
        for descriptor in (self._master, self._slave):
            os.close(descriptor)
        self.model.close()
        if self.problem is not None:
            raise DeviceError(self.problem)

    def __enter__(self) -> "SimulatedSerialBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
