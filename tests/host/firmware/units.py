"""The firmware's C units compiled for this machine and called one by one, on registers that a test answers.

They run in the test's own process, with the undefined-behaviour sanitizer. A failing assertion inside a register
access cannot pass through C: it is kept, and raised when the call returns.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lepton.arch.controller import CHIP_BASE, DATA_BASE, PERIPHERAL_BASE, LaunchStatus
from lepton.arch.registers import SNAPSHOT_BASE
from lepton.firmware.build import sources

from tests.host.firmware.host_library import CHIP_NAMES, CONTROLLER_NAMES, SCHEDULER, compile_library

PATIENCE = 20_000  # register accesses of one call; no step of the firmware needs a tenth of them
OK, BAD_ARGUMENT, BUSY, BOUNDS, MEMORY, STUCK = range(6)  # result_t


def build(folder: Path) -> ctypes.CDLL:
    """All units in one library; `memcpy` and `memset` of app/memory.c are named `firmware_memcpy` and
    `firmware_memset` so that they do not replace this process's."""
    top = sources()
    library = folder / "units.so"
    memory = folder / "memory.c"
    text = (top / "app" / "memory.c").read_text()
    memory.write_text(text.replace("memcpy(", "firmware_memcpy(").replace("memset(", "firmware_memset("))
    files = [*(top / unit for unit in (*SCHEDULER, "app/selftest.c")), memory, Path(__file__).with_name("units.c")]
    compile_library(library, files, "-fno-builtin", "-fsanitize=undefined")
    return ctypes.CDLL(str(library))


class Registers:
    """`values` by register name ("COPY_STATUS"; the chip's as "chip.STATUS"); a name in `answers` calls its function
    instead. `writes` are the writes so far, in order."""

    def __init__(self, library: ctypes.CDLL):
        self.library = library
        self.values: dict[str, int] = {}
        self.answers: dict[str, Callable[[], int]] = {}
        self.writes: list[tuple[str, int]] = []
        self.accesses = 0
        self.objects: list[int] = []  # addresses of this process that the copy engine was given
        self._problem: BaseException | None = None
        read = ctypes.c_uint32
        write = ctypes.c_uint32
        local = ctypes.c_uint32
        self._callbacks = (
            ctypes.CFUNCTYPE(read, ctypes.c_uint32)(lambda address: self._guard(self._read, address)),
            ctypes.CFUNCTYPE(None, ctypes.c_uint32, write)(
                lambda address, value: self._guard(self._write, address, value)),
            ctypes.CFUNCTYPE(local, ctypes.c_size_t)(lambda address: self._guard(self._local, address)))
        library.units_open.restype = ctypes.c_void_p
        self.scheduler = library.units_open(*self._callbacks)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around every call of C: raises what went wrong inside."""
        self.accesses = 0
        yield
        if self._problem is not None:
            problem = self._problem
            self._problem = None
            raise problem

    def name(self, address: int) -> str:
        if address >= CHIP_BASE:
            offset = address - CHIP_BASE
            return f"snapshot.{(offset - SNAPSHOT_BASE) // 4}" if offset >= SNAPSHOT_BASE else (
                f"chip.{CHIP_NAMES[offset]}")
        return CONTROLLER_NAMES[address - PERIPHERAL_BASE]

    def _guard(self, function, *arguments) -> int:
        try:
            self.accesses += 1
            assert self.accesses < PATIENCE or self._problem, "the firmware waits for ever"
            if self._problem is None:
                return function(*arguments)
        except BaseException as problem:
            self._problem = problem
        return self.way_out(*arguments)

    def way_out(self, address: int, *_) -> int:
        """What ends every loop of the firmware once something has gone wrong."""
        ended = LaunchStatus.REFUSED | LaunchStatus.EXPIRED | LaunchStatus.RESULT
        return {"LAUNCH_STATUS": int(ended)}.get(self.name(address) if address < 1 << 32 else "", 0)

    def _read(self, address: int) -> int:
        return self.read(self.name(address))

    def _write(self, address: int, value: int) -> int:
        name = self.name(address)
        self.writes.append((name, value))
        self.write(name, value)
        return 0

    def read(self, name: str) -> int:
        return self.answers[name]() if name in self.answers else self.values.get(name, 0)

    def write(self, name: str, value: int) -> None:
        self.values[name] = value

    def _local(self, address: int) -> int:
        if address not in self.objects:
            self.objects.append(address)
        return DATA_BASE + 0x1000 * self.objects.index(address)

    def object(self, local: int) -> int:
        """The address of this process behind what `mmio_local` has told the firmware."""
        index, rest = divmod(local - DATA_BASE, 0x1000)
        return self.objects[index] + rest
