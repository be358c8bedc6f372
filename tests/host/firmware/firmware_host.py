"""The firmware's scheduler compiled for this machine, with sanitizers, on a model of the controller's hardware.

Run as a program (under the address sanitizer's library) it takes a seed and compares a random stream with `Model`.
"""

import ctypes
import random
import subprocess
import sys
import zlib
from collections import deque
from pathlib import Path

from lepton.arch import REGISTERS, ErrorCode
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
    PATIENCE,
    PERIPHERAL_BASE,
    PRIORITIES,
    RING_ENTRIES,
    RINGS_BYTES,
    CompletionRecord,
    CopyMode,
    CopyStatus,
    Event,
    JobRecord,
    JobStatus,
    Launch,
    LaunchStatus,
    Refusal,
)
from lepton.arch.registers import Control, State
from lepton.firmware.build import sources

WINDOW = 0x4000
_NAMES = {r.offset: r.name for r in CONTROLLER_REGISTERS.values()}
_CHIP_NAMES = {r.offset: r.name for r in REGISTERS.values()}
UNITS = (*(f"app/{name}.c" for name in ("scheduler", "clients", "completions", "copies", "events", "records",
                                        "validate")),
         "dif/dif_copy.c", "dif/dif_launcher.c")


def build(folder: Path) -> Path:
    """The shared library, with the warnings that the real build has and the sanitizers that it cannot have."""
    library = folder / "firmware.so"
    top = sources()
    subprocess.run(["gcc", "-shared", "-fPIC", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused",
                    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DLEPTON_HOST_BUILD",
                    *(f"-I{top / part}" for part in ("include", "dif", "app")),
                    *(str(top / unit) for unit in UNITS), str(Path(__file__).with_name("shim.c")), "-o", str(library)],
                   check=True)
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
            assert more >= 0
            events = 0
            if not more:
                return
        raise AssertionError("the firmware does not come to rest")

    def read(self, address):
        if address >= CHIP_BASE:
            if self.drained_at is not None and self.time >= self.drained_at:
                self.chip.pop("MEMORY_STATUS", None)
            return self.chip.get(_CHIP_NAMES[address - CHIP_BASE], 0)
        name = _NAMES[address - PERIPHERAL_BASE]
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
            assert _CHIP_NAMES[address - CHIP_BASE] == "CONTROL"
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
        name = _NAMES[address - PERIPHERAL_BASE]
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


def record(sequence, **changes):
    """A good record for WINDOW, with changes; its CRC is right unless `crc` is among them."""
    fields = dict(magic=JOB_MAGIC, sequence=sequence, program_offset=RINGS_BYTES, program_size=256, load_count=4,
                  tag=sequence * 7) | changes
    data = JobRecord.pack(**fields)
    return data if "crc" in changes else data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


class Model:
    """What the scheduler must do, said in another way: who starts when, and what is answered.

    One record of a client is prepared, one job is staged, one runs. The next to stage is the longest passed over
    from PATIENCE on, else the highest priority, in turn behind the client staged last.
    """

    def __init__(self):
        self.queues = [deque() for _ in range(CLIENTS)]
        self.prepared = [None] * CLIENTS
        self.passed = [0] * CLIENTS
        self.staged = self.running = None
        self.last = CLIENTS - 1
        self.started = []
        self.answers = [[] for _ in range(CLIENTS)]

    def settle(self):
        """The firmware works in rounds: see what became of jobs, then look at every client once, then stage."""
        moved = True
        while moved:
            moved = False
            if self.staged and not self.running:
                self.running = self.staged
                self.staged = None
                moved = True
                self.started.append(self.running[0])
            moved |= self._serve() | self._stage()

    def end(self, status):
        self.answers[self.running[0]].append((status, Refusal.NONE))
        self.running = None
        self._serve()
        self._stage()

    def _serve(self):
        moved = False
        for i in range(CLIENTS):
            if self.prepared[i] is None and self.queues[i]:
                self.prepared[i] = self.queues[i].popleft()
                self.passed[i] = 0
                moved = True
            job = self.prepared[i]
            busy = any(other and other[0] == i for other in (self.running, self.staged))
            if job and job[2] != Refusal.NONE and not busy:
                self.answers[i].append((JobStatus.REFUSED, job[2]))
                self.prepared[i] = None
                moved = True
        return moved

    def _stage(self):
        ready = [i for i in range(CLIENTS) if self.prepared[i] and self.prepared[i][2] == Refusal.NONE]
        if self.staged or not ready:
            return False
        impatient = [i for i in ready if self.passed[i] >= PATIENCE]
        top = max(self.prepared[i][1] for i in ready)
        among = impatient or [i for i in ready if self.prepared[i][1] == top]
        chosen = min(among, key=lambda i: (i - self.last - 1) % CLIENTS)
        self.passed = [n + (i in ready) for i, n in enumerate(self.passed)]
        self.staged = (chosen, *self.prepared[chosen][1:])
        self.last = chosen
        self.prepared[chosen] = None
        return True


BAD = ((dict(magic=1), Refusal.MAGIC), (dict(crc=5), Refusal.CRC), (dict(priority=PRIORITIES), Refusal.PRIORITY),
       (dict(program_offset=WINDOW), Refusal.REGION), (dict(load_count=5), Refusal.STREAM),
       (dict(flags=1, program_hash=3), Refusal.PROGRAM_HASH), (dict(reserved1=1 << 200), Refusal.RESERVED))


def random_stream(library, seed, steps):
    """Submissions of eight clients and ends of all kinds in random order; raises where firmware and model differ."""
    rng = random.Random(seed)
    hardware = Hardware(library)
    model = Model()
    submitted = [0] * CLIENTS
    hardware.settle()
    for _ in range(steps):
        if rng.random() < 0.6:
            for client in rng.sample(range(CLIENTS), rng.choice((1, 1, 2, 8))):
                if submitted[client] - len(model.answers[client]) == RING_ENTRIES:
                    continue
                changes, refusal = rng.choice(BAD) if rng.random() < 0.2 else ({}, Refusal.NONE)
                priority = rng.choice((0, 0, 1, 3))
                hardware.submit(client, record(submitted[client], **dict(priority=priority) | changes))
                model.queues[client].append((client, priority, refusal))
                submitted[client] += 1
        elif model.running:
            kind = rng.choice((JobStatus.DONE,) * 5 + (JobStatus.ERROR, JobStatus.TIME_LIMIT))
            if kind == JobStatus.TIME_LIMIT:
                hardware.launch |= LaunchStatus.EXPIRED
            elif kind == JobStatus.DONE:
                hardware.end()
            else:
                hardware.end(State.ERROR, rng.choice((ErrorCode.MEMORY_BOUNDS, ErrorCode.AXI_TIMEOUT)))
            model.end(kind)
        model.settle()
        hardware.settle()
        assert hardware.started == model.started, (seed, hardware.started[-5:], model.started[-5:])
        for client, answers in enumerate(model.answers):
            assert hardware.values[f"CLIENT{client}_DONE"] == len(answers), (seed, client)
            for sequence in range(max(0, len(answers) - RING_ENTRIES), len(answers)):
                found = hardware.completion(client, sequence)
                assert found["sequence"] == sequence and (found["status"], found["reason"]) == answers[sequence]


if __name__ == "__main__":
    for stream in range(int(sys.argv[2]), int(sys.argv[3])):
        random_stream(Path(sys.argv[1]), stream, 120)
    print("streams agree")
