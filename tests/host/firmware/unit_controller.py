"""The controller's hardware, as a test of the scheduler's units sees it."""

import ctypes
import zlib

from lepton.arch.controller import (
    CLIENTS,
    COMPLETION_BYTES,
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    JOB_BYTES,
    LOG_EVENTS,
    PRIORITIES,
    RING_ENTRIES,
    CompletionRecord,
    CopyMode,
    CopyStatus,
    Event,
    EventKind,
    EventRecord,
    Launch,
    LaunchStatus,
)
from lepton.arch.registers import Control, State

from tests.host.firmware.units import OK, Registers

WINDOW = 0x8000  # bytes of every window


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
        assert more in (0, 1), "the scheduler has stopped after a fault"
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


TIMER = Event.TIMER
