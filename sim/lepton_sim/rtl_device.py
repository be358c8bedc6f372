"""`RtlDevice`: one simulated board, opened from the library that `build` makes."""

import ctypes
import time
from pathlib import Path

import numpy as np
from lepton.arch import ChipConfig
from lepton.arch.controller import CONTROLLER_REGISTERS, HOST_BASE
from lepton.arch.registers import ADDRESS_BITS, REGISTERS
from lepton.device import DeviceError

from .compile import Progress, quiet
from .memory_profile import CFault, CProfile, Fault, MemoryProfile

DEFAULT_MEMORY = 256 << 20  # bytes; pages take memory of the host when they are touched
_RESET_CYCLES = 8  # more than the two registers that the reset passes
_HOST_LIMIT = 100_000  # cycles that a register access may take
_PAGE = 4096  # bytes; no AXI4 burst crosses a multiple (IHI 0022, A3.4.1)
_CHUNK_SECONDS = 0.25  # how long C++ runs before Python may be interrupted
_NO_ANSWER = -1  # harness/board.h
_STOPPED = -2
_RESPONSES = {2: "SLVERR", 3: "DECERR"}


class ProtocolError(DeviceError):
    """The chip broke a rule of AXI; the text lists the rules and the cycles."""


class _LibraryStatus(ctypes.Structure):
    _fields_ = (*((name, ctypes.c_uint64) for name in (
        "cycles", "violations", "read_bursts", "read_beats", "write_bursts", "write_beats")),
        ("interrupt", ctypes.c_uint32), ("padding", ctypes.c_uint32))


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    u32 = ctypes.c_uint32
    u64 = ctypes.c_uint64
    i32 = ctypes.c_int32
    handle = ctypes.c_void_p
    for name, result, arguments in (
        ("bus_bytes", u32, []),
        ("open", handle, [handle, u64, ctypes.POINTER(CProfile)]),
        ("close", None, [handle]),
        ("reset", None, [handle, u64]),
        ("run", u64, [handle, u64, i32]),
        ("write", i32, [handle, u32, u32, u64]),
        ("read", i32, [handle, u32, ctypes.POINTER(u32), u64]),
        ("status", None, [handle, ctypes.POINTER(_LibraryStatus)]),
        ("violation", ctypes.c_char_p, [handle, u64]),
        ("add_fault", None, [handle, ctypes.POINTER(CFault)]),
        ("clear_faults", None, [handle]),
        ("record", None, [handle, i32]),
        ("events", u64, [handle, ctypes.c_void_p, u64]),
        ("trace", i32, [handle, ctypes.c_char_p, u64, u64]),
        ("flush", None, [handle]),
    ):
        function = getattr(library, f"lepton_{name}")
        function.restype = result
        function.argtypes = arguments
    return library


# harness/recorder.h: what `RtlDevice.events` holds.
EVENT = np.dtype([("first", "u8"), ("last", "u8"), ("address", "u8"), ("beats", "u4"), ("kind", "u4")])


class RtlDevice:
    """A board whose chip is simulated cycle by cycle. Implements `lepton.device.Device`.

    `memory` is the board's memory itself, shape (memory_bytes,), dtype uint8, no
    copy; `cycles` counts all cycles since it was opened. One thread at a time.
    """

    def __init__(self, library: Path, config: ChipConfig, memory_profile: MemoryProfile,
                 memory_bytes: int = DEFAULT_MEMORY, waves: str | Path | None = None,
                 wave_window: tuple[int, int | None] = (0, None), progress: Progress = quiet):
        if not (isinstance(memory_bytes, int) and memory_bytes > 0 and memory_bytes % _PAGE == 0):
            raise DeviceError(f"memory_bytes must be a positive multiple of {_PAGE}, not {memory_bytes!r}")
        self._board = None
        self.config = config
        self.memory_bytes = memory_bytes
        self.memory_profile = memory_profile
        try:
            self.memory = np.zeros(memory_bytes, np.uint8)  # pages appear when they are touched
        except MemoryError as error:
            raise DeviceError(f"this machine cannot give the board {memory_bytes} bytes of memory; "
                              "ask for less with memory_bytes") from error
        self._library = _load(library)
        if (width := self._library.lepton_bus_bytes()) != config.bus_bytes:
            raise DeviceError(f"the chip's memory bus is {width} bytes wide, but its configuration {config.name!r} "
                              f"says {config.bus_bytes}")
        if waves is not None:
            try:
                open(waves, "wb").close()  # the FST writer itself does not notice
            except OSError as error:
                raise DeviceError(f"waves cannot be written to {str(waves)!r}: {error.strerror}") from error
        self._progress = progress
        self._seconds = 0.0
        self._run_cycles = 0
        self._reported = 0
        board = self._library.lepton_open(self.memory.ctypes.data, memory_bytes, CProfile.from_profile(memory_profile))
        self._board = ctypes.c_void_p(board)
        if waves is not None:
            first, last = wave_window
            last = (1 << 64) - 1 if last is None else last
            if not self._library.lepton_trace(board, str(waves).encode(), first, last):
                self.close()
                raise DeviceError("this build of the board cannot record waves; build it with waves=True")
        self.reset()

    # ---- the Device interface

    def read_register(self, offset: int) -> int:
        """Value of the register at byte `offset`; takes a few cycles of the chip's time."""
        value = ctypes.c_uint32()
        resp = self._call("read", self._offset(offset), ctypes.byref(value), _HOST_LIMIT)
        self._judge(resp, "read of", offset)
        return value.value

    def write_register(self, offset: int, value: int) -> None:
        """Write 32 bits. CONTROL.MEMORY_RESET makes the board's memory forget its transactions, not its contents."""
        if not 0 <= value < 1 << 32:
            raise DeviceError(f"a register value must fit in 32 bits, not {value:#x}")
        resp = self._call("write", self._offset(offset), value, _HOST_LIMIT)
        self._judge(resp, "write to", offset)

    def read_memory(self, address: int, size: int) -> np.ndarray:
        """A copy of `size` bytes, shape (size,), dtype uint8."""
        self._check_range("read", address, size)
        return self.memory[address:address + size].copy()

    def write_memory(self, address: int, data) -> None:
        """Write a bytes-like object or a contiguous array at byte `address`."""
        if isinstance(data, np.ndarray) and not data.flags.c_contiguous:
            raise DeviceError("data must be contiguous; pass numpy.ascontiguousarray(data)")
        values = np.frombuffer(data, np.uint8)
        self._check_range("write", address, values.size)
        self.memory[address:address + values.size] = values

    def wait_interrupt(self, max_cycles: int) -> bool:
        """Run until the interrupt line is high; False if it was not within `max_cycles`."""
        self.run_until_interrupt(max_cycles)
        return self.interrupt

    def close(self) -> None:
        """Give the board back; a wave file is complete afterwards."""
        if self._board is not None:
            self._library.lepton_close(self._board)
            self._board = None

    def __enter__(self) -> "RtlDevice":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __del__(self):
        if getattr(self, "_board", None) is not None:
            self.close()

    # ---- what only a simulation has

    def reset(self) -> None:
        """Pull the chip's reset line. Memory keeps its contents."""
        self._call("reset", _RESET_CYCLES)

    def run(self, cycles: int) -> None:
        """Let `cycles` cycles pass. Raises `ProtocolError` where the chip breaks a rule of AXI."""
        self._run(cycles, until_interrupt=False)

    def run_until_interrupt(self, max_cycles: int) -> int:
        """Run until the interrupt line is high or `max_cycles` have passed; the cycles run."""
        return self._run(max_cycles, until_interrupt=True)

    def add_fault(self, fault: Fault) -> None:
        """From now on, new bursts that touch the fault's range fail."""
        self._call("add_fault", ctypes.byref(CFault.from_fault(fault)))

    def clear_faults(self) -> None:
        """Memory is whole again. A burst that hangs goes on hanging until CONTROL.MEMORY_RESET or `reset`."""
        self._call("clear_faults")

    def record(self, on: bool = True) -> None:
        """Forget recorded events, and record from now on (or no longer): what `events` gives."""
        self._call("record", on)

    @property
    def events(self) -> np.ndarray:
        """Bursts and register writes since `record`, in the order in which they ended: `EVENT` records, shape (n,).

        `first` and `last` are cycles: of a burst its address and its last beat or response. At most 2**22.
        """
        count = self._library.lepton_events(self._open(), None, 0)
        found = np.zeros(count, EVENT)
        self._library.lepton_events(self._open(), found.ctypes.data, count)
        return found

    def flush_waves(self) -> None:
        """Write the recorded waves to their file."""
        self._call("flush")

    @property
    def cycles(self) -> int:
        """Cycles simulated since the board was opened."""
        return self._status().cycles

    @property
    def interrupt(self) -> bool:
        """The level of the chip's interrupt line."""
        return bool(self._status().interrupt)

    @property
    def simulated_hz(self) -> float:
        """Cycles a second of the processor's time over all runs so far; 0 before the first.

        Other programs' turns on a busy machine do not count; on an idle one it is the same as by the clock.
        """
        return self._run_cycles / self._seconds if self._seconds else 0.0

    @property
    def traffic(self) -> dict[str, int]:
        """Bursts and beats that memory has seen: read_bursts, read_beats, write_bursts, write_beats."""
        status = self._status()
        return {name: getattr(status, name) for name in ("read_bursts", "read_beats", "write_bursts", "write_beats")}

    @property
    def violations(self) -> list[str]:
        """The rules of AXI that the chip has broken, with their cycles (the first 64)."""
        count = min(64, self._status().violations)
        return [self._library.lepton_violation(self._open(), i).decode() for i in range(count)]

    # ---- inside

    def _open(self) -> ctypes.c_void_p:
        if self._board is None:
            raise DeviceError("the board is closed; open it again with lepton.device.open")
        return self._board

    def _call(self, name: str, *arguments):
        result = getattr(self._library, f"lepton_{name}")(self._open(), *arguments)
        self._raise_violations()
        return result

    def _status(self) -> _LibraryStatus:
        status = _LibraryStatus()
        self._library.lepton_status(self._open(), ctypes.byref(status))
        return status

    def _raise_violations(self) -> None:
        if (count := self._status().violations) > self._reported:
            fresh = self.violations[self._reported:] or ["more than 64 rules were broken"]
            self._reported = count
            raise ProtocolError("the chip broke the rules of AXI: " + "; ".join(fresh))

    def _run(self, cycles: int, until_interrupt: bool) -> int:
        """In parts short enough for Ctrl-C and for reports of progress."""
        done = 0
        while done < cycles and not (until_interrupt and self.interrupt):
            piece = int(min(cycles - done, max(1000, self.simulated_hz * _CHUNK_SECONDS or 10_000)))
            start = time.thread_time()
            ran = self._call("run", piece, until_interrupt)
            self._seconds += time.thread_time() - start
            self._run_cycles += ran
            done += ran
            self._progress(f"{self.cycles} cycles, {self.simulated_hz:,.0f} a second")
        return done

    @staticmethod
    def _offset(offset: int) -> int:
        if not (0 <= offset < 1 << ADDRESS_BITS and offset % 4 == 0):
            raise DeviceError(f"a register offset must be a multiple of 4 below {1 << ADDRESS_BITS:#x}, "
                              f"not {offset:#x}")
        return offset

    def _judge(self, resp: int, what: str, offset: int) -> None:
        if resp == 0:
            return
        name = next((r.name for r in REGISTERS.values() if r.offset == offset), None) or next(
            (r.name for r in CONTROLLER_REGISTERS.values() if HOST_BASE + r.offset == offset), "unknown register")
        answer = (f"did not answer within {_HOST_LIMIT} cycles" if resp == _NO_ANSWER else
                  f"answered {_RESPONSES.get(resp, resp)}")
        raise DeviceError(f"{what} register {offset:#06x} ({name}): the chip {answer}")

    def _check_range(self, what: str, address: int, size: int) -> None:
        self._open()
        if address < 0 or size < 0 or address + size > self.memory_bytes:
            raise DeviceError(f"{what} of {size} bytes at {address:#x} leaves the board's memory of "
                              f"{self.memory_bytes:#x} bytes; open the board with a larger memory_bytes")
