"""The firmware's C units compiled for this machine and called one by one, on registers that a test answers.

They run in the test's own process, with the undefined-behaviour sanitizer. A failing assertion inside a register
access cannot pass through C: it is kept, and raised when the call returns.
"""

import ctypes
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lepton.arch import REGISTERS
from lepton.arch.controller import (
    CHIP_BASE,
    CLIENTS,
    COMPLETION_BYTES,
    COMPLETION_RING,
    CONTROLLER_REGISTERS,
    CONTROLLER_WINDOW,
    DATA_BASE,
    JOB_BYTES,
    JOB_MAGIC,
    LOG_EVENTS,
    PERIPHERAL_BASE,
    PRIORITIES,
    RING_ENTRIES,
    RINGS_BYTES,
    CompletionRecord,
    CopyMode,
    CopyStatus,
    Event,
    EventKind,
    EventRecord,
    JobRecord,
    Launch,
    LaunchStatus,
)
from lepton.arch.registers import SNAPSHOT_BASE, Control, State
from lepton.firmware.build import sources

WINDOW = 0x8000  # bytes of every window
PATIENCE = 20_000  # register accesses of one call; no step of the firmware needs a tenth of them
UNITS = (*(f"app/{name}.c" for name in ("scheduler", "clients", "completions", "copies", "events", "records",
                                        "validate")),
         "app/selftest.c", "dif/dif_copy.c", "dif/dif_launcher.c")
OK, BAD_ARGUMENT, BUSY, BOUNDS, MEMORY, STUCK = range(6)  # result_t

_NAMES = {r.offset: r.name for r in CONTROLLER_REGISTERS.values()}
_CHIP_NAMES = {r.offset: r.name for r in REGISTERS.values()}


def build(folder: Path) -> ctypes.CDLL:
    """All units in one library, with the warnings of the real build; `memcpy` and `memset` of app/memory.c are named
    `firmware_memcpy` and `firmware_memset` so that they do not replace this process's."""
    top = sources()
    library = folder / "units.so"
    memory = folder / "memory.c"
    text = (top / "app" / "memory.c").read_text()
    memory.write_text(text.replace("memcpy(", "firmware_memcpy(").replace("memset(", "firmware_memset("))
    subprocess.run(["gcc", "-shared", "-fPIC", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-fno-builtin", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-DLEPTON_HOST_BUILD",
                    *(f"-I{top / part}" for part in ("include", "dif", "app")), *(str(top / unit) for unit in UNITS),
                    str(memory), str(Path(__file__).with_name("units.c")), "-o", str(library)],
                   check=True)
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
                f"chip.{_CHIP_NAMES[offset]}")
        return _NAMES[address - PERIPHERAL_BASE]

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


class Controller(Registers):
    """The scheduler with the copy engine, the launcher and the rings around it. `end` ends the running job.

    A copy is busy for `latency` looks at its status, one that gets stuck for 40. `copy_faults` holds (window, status)
    of copies to come that fail, each once. `refuse`: the launcher refuses the next job that is staged. `tick`: cycles
    between two looks at TIME. Nothing of a job is modelled but its window, limit and timeout.
    """

    def __init__(self, library: ctypes.CDLL):
        super().__init__(library)
        self.memory = {w: bytearray(WINDOW) for w in range(CLIENTS + 1)}
        self.time = 0x5_0000_0000
        self.launch = 0
        self.refuse = False
        self.staged: dict[str, int] | None = None
        self.running: dict[str, int] | None = None
        self.started: list[dict[str, int]] = []
        self.copies: list[tuple[CopyMode, int, int, int]] = []
        self.copy_faults: list[tuple[int, CopyStatus]] = []
        self.aborts = self.resets = self.looks = self.outcome = 0
        self.memory_resets = 0
        self.latency = 2
        self.tick = 1
        self.tails = [0] * CLIENTS
        for i in range(CLIENTS):
            self.values |= {f"CLIENT{i}_SIZE": WINDOW, f"CLIENT{i}_CONTROL": 1 | (PRIORITIES - 1) << 4,
                            f"CLIENT{i}_HEAD": 99, f"CLIENT{i}_DONE": 99}
        with self.call():
            assert library.scheduler_init(ctypes.c_void_p(self.scheduler)) == OK

    def step(self, events: int = 0) -> bool:
        with self.call():
            more = self.library.units_step(events)
        assert more >= 0
        return bool(more)

    def settle(self, events: int = 0) -> None:
        for _ in range(1000):
            if not self.step(events):
                return
            events = 0
        raise AssertionError("the firmware does not come to rest")

    def read(self, name: str) -> int:
        if name in self.answers:
            return self.answers[name]()
        if name in ("TIME", "TIME_HI"):
            self.time += self.tick
            return (self.time >> (32 if name == "TIME_HI" else 0)) & 0xFFFF_FFFF
        if name == "LAUNCH_STATUS":
            return self.launch
        if name == "COPY_STATUS" and self.values.get(name, 0) & CopyStatus.BUSY:
            self.looks -= 1
            if self.looks < 0:
                self.values[name] = self.outcome
        return self.values.get(name, 0)

    def write(self, name: str, value: int) -> None:
        if name in ("DOORBELLS", "CLIENT_RESET", "EVENTS"):
            self.values[name] = self.values.get(name, 0) & ~value
        elif name == "chip.CONTROL":
            self._control(value)
        elif name == "COPY_START":
            self.outcome = self._copy(CopyMode(value))
            self.looks = 40 if self.outcome & CopyStatus.STUCK else self.latency
            self.values["COPY_STATUS"] = CopyStatus.BUSY
        elif name == "LAUNCH":
            self._launch(value)
        else:
            self.values[name] = value

    def _control(self, value: int) -> None:
        self.aborts += bool(value & Control.ABORT)
        self.resets += bool(value & Control.RESET)
        if value & Control.MEMORY_RESET:
            self.memory_resets += 1
            self.values |= {"COPY_STATUS": 0, "chip.MEMORY_STATUS": 0}
        if value & (Control.RESET | Control.MEMORY_RESET) and self.running:
            self.end(State.IDLE)

    def _copy(self, mode: CopyMode) -> int:
        window, offset, length = (self.values[f"COPY_{n}"] for n in ("WINDOW", "OFFSET", "LENGTH"))
        assert window <= CONTROLLER_WINDOW and offset % 4 == length % 4 == 0 and length
        self.copies.append((mode, window, offset, length))
        for fault in self.copy_faults:
            if fault[0] == window:
                self.copy_faults.remove(fault)
                return fault[1]
        assert offset + length <= WINDOW
        where = slice(offset, offset + length)
        if mode == CopyMode.WRITE:
            self.memory[window][where] = ctypes.string_at(self.object(self.values["COPY_LOCAL"]), length)
            return 0
        data = bytes(self.memory[window][where])
        self.values["COPY_CRC"] = zlib.crc32(data, self.values.get("COPY_CRC", 0) ^ 0xFFFF_FFFF) ^ 0xFFFF_FFFF
        if mode == CopyMode.READ:
            ctypes.memmove(self.object(self.values["COPY_LOCAL"]), data, length)
        return 0

    def _launch(self, value: int) -> None:
        if value & Launch.STAGE:
            assert not self.launch & LaunchStatus.STAGED
            self.launch = (self.launch | LaunchStatus.STAGED) & ~LaunchStatus.REFUSED
            self.staged = {name: v for name, v in self.values.items() if name.startswith("LAUNCH_")}
        if value & Launch.CANCEL:
            self.launch &= ~LaunchStatus.STAGED
            self.staged = None
        if value & Launch.ACKNOWLEDGE:
            self.launch &= ~(LaunchStatus.RESULT | LaunchStatus.HELD)
        self.start()

    def start(self) -> None:
        if not self.launch & LaunchStatus.STAGED or self.running or self.launch & LaunchStatus.HELD:
            return
        self.launch &= ~LaunchStatus.STAGED
        if self.refuse:
            self.refuse = False
            self.staged = None
            self.launch |= LaunchStatus.REFUSED
            return
        self.launch = (self.launch & ~LaunchStatus.EXPIRED) | LaunchStatus.RUNNING
        self.running = self.staged
        self.staged = None
        self.started.append(self.running)

    def end(self, status: State = State.DONE, **results: int) -> None:
        """The running job ends with `results` (register names without RESULT_); the staged one starts by itself
        unless this one failed."""
        self.values |= {"RESULT_STATUS": status} | {f"RESULT_{name}": value for name, value in results.items()}
        self.running = None
        self.launch = (self.launch & ~LaunchStatus.RUNNING) | LaunchStatus.RESULT
        if status != State.DONE:
            self.launch |= LaunchStatus.HELD
        self.start()

    def expire(self) -> None:
        self.launch |= LaunchStatus.EXPIRED

    def submit(self, client: int, data: bytes) -> None:
        """Write a record and ring the doorbell."""
        at = self.tails[client] % RING_ENTRIES * JOB_BYTES
        self.memory[client][at:at + JOB_BYTES] = data
        self.tails[client] = (self.tails[client] + 1) % (1 << 32)
        self.ring(client, self.tails[client])

    def ring(self, client: int, tail: int) -> None:
        self.values[f"CLIENT{client}_TAIL"] = tail
        self.values["DOORBELLS"] = self.values.get("DOORBELLS", 0) | 1 << client

    def completion(self, client: int, sequence: int) -> dict[str, int]:
        at = COMPLETION_RING + sequence % RING_ENTRIES * COMPLETION_BYTES
        return CompletionRecord.unpack(bytes(self.memory[client][at:at + COMPLETION_BYTES]))

    def events(self, kind: EventKind | None = None) -> list[dict[str, int]]:
        """What the log holds, oldest first."""
        count = self.values.get("LOG_COUNT", 0)
        entries = [EventRecord.unpack(bytes(self.memory[CONTROLLER_WINDOW][at:at + 32]))
                   for at in ((n % LOG_EVENTS) * 32 for n in range(max(0, count - LOG_EVENTS), count))]
        return [entry for entry in entries if kind in (None, entry["kind"])]

    @property
    def interrupts(self) -> list[int]:
        return [value for name, value in self.writes if name == "CLIENT_IRQ"]


def record(sequence: int, /, **changes: int) -> bytes:
    """A good record for WINDOW, with changes; its CRC is right unless `crc` is among them."""
    fields = dict(magic=JOB_MAGIC, sequence=sequence, program_offset=RINGS_BYTES, program_size=256, load_count=4,
                  tag=0xAAAA_0000_0000 + sequence * 7) | changes
    data = JobRecord.pack(**fields)
    return data if "crc" in changes else data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


TIMER = Event.TIMER
