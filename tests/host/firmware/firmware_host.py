"""The firmware's scheduler compiled for this machine, with sanitizers, on a model of the controller's hardware."""

import ctypes
import zlib
from pathlib import Path

from lepton.arch import ErrorCode
from lepton.arch.controller import (
    CHIP_BASE,
    CLIENTS,
    COMPLETION_BYTES,
    COMPLETION_RING,
    CONTROLLER_WINDOW,
    DATA_BASE,
    JOB_BYTES,
    PERIPHERAL_BASE,
    PRIORITIES,
    RING_ENTRIES,
    CompletionRecord,
    CopyMode,
    CopyStatus,
    Event,
    Launch,
    LaunchStatus,
)
from lepton.arch.registers import Control, State
from lepton.firmware.build import sources

from tests.host.firmware.host_library import CHIP_NAMES, CONTROLLER_NAMES, SCHEDULER, compile_library

WINDOW = 0x4000


def build(folder: Path) -> Path:
    """The shared library, with the sanitizers for addresses and undefined behaviour."""
    library = folder / "firmware.so"
    files = [*(sources() / unit for unit in SCHEDULER), Path(__file__).with_name("shim.c")]
    compile_library(library, files, "-Wno-unused", "-fsanitize=address,undefined")
    return library


class Hardware:
    """Registers as the firmware sees them. The test starts nothing by itself: `end` ends the running job."""

    def __init__(self, library: Path):
        self.memory = {w: bytearray(WINDOW) for w in range(CLIENTS + 1)}
        self.values = {f"CLIENT{i}_{name}": value for i in range(CLIENTS) for name, value in (
            ("SIZE", WINDOW), ("CONTROL", 1 | (PRIORITIES - 1) << 4), ("LIMIT", 0), ("TAIL", 0))}
        self.values |= {"DOORBELLS": 0, "CLIENT_RESET": 0, "COPY_STATUS": 0, "LOG_COUNT": 0}
        self.time = self.launch = self.starts = 0
        self.running = self.staged = None
        self.started = []
        self.resets = 0
        self.aborts = 0
        self.chip = {}  # of its registers, those that are not zero
        self.drained_at = None  # the time from which MEMORY_STATUS is zero
        self.memory_resets = 0
        self.blocked = None  # while memory does not answer: what happens after 40 looks at the copy
        self.library = ctypes.CDLL(str(library))
        self._read = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)(self.read)
        self._write = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)(self.write)
        self.library.shim_open.restype = ctypes.c_void_p
        self.library.shim_size.restype = ctypes.c_size_t
        self.local = self.library.shim_open(self._read, self._write)
        self.local_size = self.library.shim_size()

    def settle(self, events=0):
        """Let the firmware work until it would sleep."""
        for _ in range(1000):
            more = self.library.shim_step(events)
            assert more in (0, 1), "the scheduler has stopped after a fault"
            events = 0
            if not more:
                return
        raise AssertionError("the firmware does not come to rest")

    def read(self, address):
        if address >= CHIP_BASE:
            if self.drained_at is not None and self.time >= self.drained_at:
                self.chip.pop("MEMORY_STATUS", None)
            return self.chip.get(CHIP_NAMES[address - CHIP_BASE], 0)
        name = CONTROLLER_NAMES[address - PERIPHERAL_BASE]
        if name == "TIME":
            self.time += 500  # cycles between two looks; the processor needs fewer, and the test fewer looks
            return self.time
        if name == "COPY_STATUS" and self.values[name] & CopyStatus.BUSY:
            self.looks += 1
            if self.looks == 40:
                self.blocked()
            assert self.looks < 10_000, "the firmware waits for ever"
        if name == "LAUNCH_STATUS":
            return self.launch | self.starts % 256 << 8
        if name == "CLIENT_IRQ":
            return 0
        return self.values.get(name, 0)

    def write(self, address, value):
        if address >= CHIP_BASE:
            assert CHIP_NAMES[address - CHIP_BASE] == "CONTROL"
            if value & Control.MEMORY_RESET:
                self.memory_resets += 1
                self.blocked = None
                self.chip = {}
                self.values["COPY_STATUS"] = 0
            if value & (Control.RESET | Control.MEMORY_RESET):
                self.resets += 1
                if self.running:
                    self.end(State.IDLE)
            if value & Control.ABORT:
                self.aborts += 1
                if self.running and not self.launch & LaunchStatus.RESULT and not self.blocked:
                    self.end(State.ERROR, ErrorCode.ABORTED)
            return
        name = CONTROLLER_NAMES[address - PERIPHERAL_BASE]
        if name in ("DOORBELLS", "CLIENT_RESET"):
            self.values[name] &= ~value
        elif name == "COPY_START":
            self.looks = 0
            self.values["COPY_STATUS"] = CopyStatus.BUSY if self.blocked else self._copy(CopyMode(value))
        elif name == "EVENTS":
            self.values[name] = self.values.get(name, 0) & ~value
        elif name == "TIMER":
            self.values["EVENTS"] = self.values.get("EVENTS", 0) | (Event.TIMER if value else 0)
        elif name == "LAUNCH":
            self._launch(value)
        else:
            self.values[name] = value

    def _copy(self, mode):
        window, offset, length = (self.values[f"COPY_{n}"] for n in ("WINDOW", "OFFSET", "LENGTH"))
        assert window <= CONTROLLER_WINDOW and offset % 4 == length % 4 == 0 and length
        if offset + length > WINDOW:
            return CopyStatus.BOUNDS
        where = slice(offset, offset + length)
        at = self.values["COPY_LOCAL"] - DATA_BASE
        if mode != CopyMode.CHECK:
            assert at >= 0 and at + length <= self.local_size, "outside the firmware's memory"
        if mode == CopyMode.WRITE:
            self.memory[window][where] = ctypes.string_at(self.local + at, length)
            return 0
        data = bytes(self.memory[window][where])
        self.values["COPY_CRC"] = zlib.crc32(data, self.values.get("COPY_CRC", 0) ^ 0xFFFF_FFFF) ^ 0xFFFF_FFFF
        if mode == CopyMode.READ:
            ctypes.memmove(self.local + at, data, length)
        return 0

    def _launch(self, value):
        if value & Launch.STAGE:
            assert not self.launch & LaunchStatus.STAGED
            self.launch = (self.launch | LaunchStatus.STAGED) & ~LaunchStatus.REFUSED
            self.staged = self.values["LAUNCH_WINDOW"], self.values["LAUNCH_LIMIT"]
        if value & Launch.CANCEL:
            self.launch &= ~LaunchStatus.STAGED
        if value & Launch.ACKNOWLEDGE:
            self.launch &= ~(LaunchStatus.RESULT | LaunchStatus.HELD)
        self._start()

    def _start(self):
        if self.launch & LaunchStatus.STAGED and not self.running and not self.launch & LaunchStatus.HELD:
            self.running = self.staged
            self.launch = (self.launch & ~(LaunchStatus.STAGED | LaunchStatus.EXPIRED)) | LaunchStatus.RUNNING
            self.starts += 1
            self.started.append(self.running[0])

    def end(self, status=State.DONE, code=ErrorCode.NONE):
        """The running job ends; the staged one starts by itself unless this one failed."""
        self.values |= {"RESULT_STATUS": status, "RESULT_ERROR_CODE": code}
        self.running = None
        self.launch = (self.launch & ~LaunchStatus.RUNNING) | LaunchStatus.RESULT
        if status != State.DONE:
            self.launch |= LaunchStatus.HELD
        self._start()

    def submit(self, client, record):
        """Write a record and ring the doorbell."""
        tail = self.values[f"CLIENT{client}_TAIL"]
        at = tail % RING_ENTRIES * JOB_BYTES
        self.memory[client][at:at + JOB_BYTES] = record
        self.values[f"CLIENT{client}_TAIL"] = tail + 1
        self.values["DOORBELLS"] |= 1 << client

    def completion(self, client, sequence):
        at = COMPLETION_RING + sequence % RING_ENTRIES * COMPLETION_BYTES
        return CompletionRecord.unpack(bytes(self.memory[client][at:at + COMPLETION_BYTES]))
