"""Runs the three command streams of a job on the golden model.

Commands are atomic and the engines take turns, so the interpreter shows one of the
orders that the semaphores allow. `check_races` makes sure that there is only one result;
`seed` picks another order.
"""

import functools
import random
from dataclasses import dataclass, field

import numpy as np
from lepton.arch import ChipConfig, Engine, ErrorCode, Region
from lepton.arch.commands import ENGINE_OPCODES, ENGINE_RECORDS, SEMAPHORES
from lepton.arch.repeat import repetition, repetitions, unroll

from .commands import execute
from .errors import CommandError
from .races import Race, RaceChecker
from .state import ChipState

SEMAPHORE_LIMIT = 255  # they count in 8 bits
STREAM_ALIGNMENT = 64  # bytes: a record's size, so that none crosses a 4 KiB boundary
_NOTHING = (0, 0)


@dataclass(frozen=True)
class JobSetup:
    """A job as the registers describe it.

    `streams`: (offset in region PROGRAM, commands) by engine. `regions`: (base, size) by region, bytes.
    """

    streams: tuple[tuple[int, int], ...] = (_NOTHING,) * len(Engine)
    regions: tuple[tuple[int, int], ...] = (_NOTHING,) * len(Region)


@dataclass(frozen=True)
class JobError:
    """What the error registers say."""

    code: ErrorCode
    engine: Engine
    index: int
    layer: int
    address: int

    def __str__(self) -> str:
        return (f"{self.engine.name} command {self.index} (layer {self.layer}) stopped with {self.code.name} "
                f"at {self.address:#x}: {self.code.text}")


@dataclass(frozen=True)
class JobResult:
    """`error` is None where the job is done; `executed` counts finished commands by engine."""

    error: JobError | None
    executed: tuple[int, ...]
    races: list[Race] = field(default_factory=list)


@functools.lru_cache(maxsize=4096)
def _unpack(record, data: bytes) -> dict[str, int]:
    return record.unpack(data)


class StreamInterpreter:
    """A chip and the memory it works on (uint8).

    The chip's memories are zero at first and keep their contents between jobs. With
    `check_races` every job is watched by a `RaceChecker`. Without `seed`, LOAD runs ahead of
    TENSOR and TENSOR of STORE as far as the semaphores let them; with it the order is random
    but reproducible.
    """

    def __init__(self, config: ChipConfig, memory: np.ndarray, *, check_races: bool = False, seed: int | None = None):
        self.config = config
        self.memory = memory
        self.chip = ChipState.blank(config)
        self._check_races = check_races
        self._random = None if seed is None else random.Random(seed)

    def run(self, job: JobSetup) -> JobResult:
        """Run a job until it is done or stops with an error; never raises for what a program does."""
        return _JobExecution(self, job).run()


class _Stop(Exception):
    def __init__(self, code: ErrorCode, address: int):
        self.code = code
        self.address = address


class _JobExecution:
    """One job under way."""

    def __init__(self, interpreter: StreamInterpreter, job: JobSetup):
        self._on = interpreter
        self._job = job
        self._next = [0] * len(Engine)
        self._round = [0] * len(Engine)  # which command of a `repeat` is the next,
        self._rounds = [1] * len(Engine)  # and of how many
        self._semaphores = [0] * SEMAPHORES
        self._checker = None
        if interpreter._check_races:
            self._checker = RaceChecker(interpreter.config, self._count_posts(), self._touched_memory())

    def run(self) -> JobResult:
        error = self._run()
        races = [] if self._checker is None else self._checker.races
        return JobResult(error, tuple(self._next), races)

    def _run(self) -> JobError | None:
        error = self._check_streams()
        if error is not None:
            return error
        while True:
            waiting = [e for e in Engine if self._next[e] < self._job.streams[e][1]]
            if not waiting:
                return None
            order = list(waiting)
            if self._on._random:
                self._on._random.shuffle(order)
            for engine in order:
                layer = 0
                try:
                    fields = self._upcoming(engine)
                    layer = fields["layer"]
                    self._check_header(engine, fields)
                    if self._missing(fields["wait"]):
                        continue
                    self._step(engine, fields)
                except (_Stop, CommandError) as stop:
                    return JobError(stop.code, engine, self._next[engine], layer, stop.address)
                break
            else:
                engine = waiting[0]
                fields = self._upcoming(engine)
                return JobError(ErrorCode.DEADLOCK, engine, self._next[engine], fields["layer"],
                                self._missing(fields["wait"]))

    def _check_streams(self) -> JobError | None:
        """Every stream must be aligned and end inside region PROGRAM; nothing runs otherwise."""
        base, region_size = self._job.regions[Region.PROGRAM]
        for engine in Engine:
            offset, count = self._job.streams[engine]
            if count and (base % STREAM_ALIGNMENT or offset % STREAM_ALIGNMENT):
                return JobError(ErrorCode.ILLEGAL_FIELD, engine, 0, 0, base + offset)
            size = ENGINE_RECORDS[engine].size
            fits = max(0, region_size - offset) // size
            if count > fits:
                return JobError(ErrorCode.MEMORY_BOUNDS, engine, fits, 0, base + offset + fits * size)
        return None

    def _fetch(self, engine: Engine, index: int) -> bytes:
        """Bytes of a command; stops where there is no memory."""
        size = ENGINE_RECORDS[engine].size
        address = self._job.regions[Region.PROGRAM][0] + self._job.streams[engine][0] + index * size
        if address + size > len(self._on.memory):
            raise _Stop(ErrorCode.AXI_DECERR, address)
        return self._on.memory[address:address + size].tobytes()

    @staticmethod
    def _fields(engine: Engine, data: bytes) -> dict[str, int]:
        return _unpack(ENGINE_RECORDS[engine], data)

    def _missing(self, wait: int) -> int:
        """Mask of the semaphores in `wait` that are at zero."""
        return sum(1 << s for s in range(SEMAPHORES) if wait >> s & 1 and self._semaphores[s] == 0) if wait else 0

    def _upcoming(self, engine: Engine) -> dict[str, int]:
        """The next command of an engine."""
        record = ENGINE_RECORDS[engine]
        stored = self._fields(engine, self._fetch(engine, self._next[engine]))
        self._rounds[engine] = repetitions(record, stored)
        return repetition(record, stored, self._round[engine])

    def _check_header(self, engine: Engine, fields: dict[str, int]) -> None:
        """What is checked before a command takes its semaphores, when all earlier ones of its engine have finished."""
        if fields["opcode"] not in ENGINE_OPCODES[engine]:
            raise CommandError(ErrorCode.ILLEGAL_OPCODE, fields["opcode"])
        if fields["reserved_header"] != 0:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["reserved_header"])
        if fields.get("snapshot", 0) and fields["layer"] >= self._on.config.layer_slots:
            raise CommandError(ErrorCode.ILLEGAL_FIELD, fields["layer"])

    def _step(self, engine: Engine, fields: dict[str, int]) -> None:
        for s in range(SEMAPHORES):
            self._semaphores[s] -= fields["wait"] >> s & 1
        if self._checker is not None:
            self._checker.begin(engine, self._next[engine], fields["layer"], fields["wait"],
                                bool(fields.get("fence", 0)))
        execute(fields, self._on.chip, self._on.memory, self._job.regions, self._checker)
        if self._checker is not None:
            self._checker.end(fields["post"])
        overflow = sum(1 << s for s in range(SEMAPHORES)
                       if fields["post"] >> s & 1 and self._semaphores[s] == SEMAPHORE_LIMIT)
        if overflow:
            raise _Stop(ErrorCode.SEMAPHORE_OVERFLOW, overflow)
        for s in range(SEMAPHORES):
            self._semaphores[s] += fields["post"] >> s & 1
        self._round[engine] += 1
        if self._round[engine] == self._rounds[engine]:
            self._next[engine] = self._next[engine] + 1
            self._round[engine] = 0

    def _count_posts(self) -> np.ndarray:
        """Posts of the whole job, shape (engines, SEMAPHORES)."""
        total = np.zeros((len(Engine), SEMAPHORES), np.int64)
        for engine in Engine:
            # A stream that is longer than memory stops the job before it starts.
            for index in range(min(self._job.streams[engine][1], len(self._on.memory))):
                try:
                    fields = self._fields(engine, self._fetch(engine, index))
                except _Stop:
                    break  # the job will stop there, if it gets that far
                for single in unroll(ENGINE_RECORDS[engine], fields):
                    total[engine] += [single["post"] >> s & 1 for s in range(SEMAPHORES)]
        return total

    def _touched_memory(self) -> range:
        """The addresses that transfers of this job can reach."""
        spans = [(base, min(base + size, len(self._on.memory))) for base, size in self._job.regions
                 if size and base < len(self._on.memory)]
        return range(min((low for low, _ in spans), default=0), max((high for _, high in spans), default=0))
