"""What the chip is asked to do, and what it says afterwards."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..arch import Engine, Region, Stream
from ..arch.commands import ENGINE_RECORDS
from ..arch.controller import PRIORITIES
from .errors import BufferUseError, ChipError, DriverError
from .memory import Buffer, DeviceMemory

STREAM_ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a program.

    `regions` binds memory to the regions that commands name; `Region.PROGRAM`
    must be among them, and a region that is not bound has size 0, so that any
    access to it stops the job. An engine without a stream has nothing to do.
    `layers` are the snapshot slots that the program fills (its commands with
    `snapshot` set), in order of execution. `timeout` is in cycles without an answer from
    memory (0: without limit).

    With a controller, `priority` (0..3, higher first) decides between clients, and a job that takes more than
    `time_limit` cycles (0: the client's limit) is stopped by the chip, whatever the host does. Without one,
    neither has an effect.
    """

    regions: Mapping[Region, Buffer]
    streams: Mapping[Engine, Stream]
    layers: tuple[int, ...] = ()
    timeout: int = 100_000
    name: str = "job"
    priority: int = 0
    time_limit: int = 0

    def check(self, memory: DeviceMemory, layer_slots: int) -> None:
        """Raise `DriverError` or `BufferUseError` for anything that must not reach the chip.

        `memory`: that of the driver; all buffers must be its. `layer_slots`: snapshots that the chip keeps.
        """
        if Region.PROGRAM not in self.regions:
            raise DriverError(f"job {self.name!r} has no buffer for region PROGRAM, which holds its commands")
        for region, buffer in self.regions.items():
            if buffer.memory is not memory:
                raise DriverError(f"the {Region(region).name} buffer of job {self.name!r} belongs to another driver")
            if buffer.freed:
                raise BufferUseError(f"the {Region(region).name} buffer of job {self.name!r} has been freed")
            if buffer.size >= 1 << 32:
                raise DriverError(f"the {Region(region).name} buffer of job {self.name!r} must be smaller than 4 GiB, "
                                  f"not {buffer.size} bytes")
        program = self.regions[Region.PROGRAM]
        for engine, stream in self.streams.items():
            engine = Engine(engine)
            if stream.count < 0 or stream.offset < 0 or stream.offset % STREAM_ALIGNMENT:
                raise DriverError(
                    f"the {engine.name} stream of job {self.name!r} must start at a multiple of {STREAM_ALIGNMENT} "
                    f"and have 0 or more commands, not offset {stream.offset} and count {stream.count}")
            end = stream.offset + stream.count * ENGINE_RECORDS[engine].size
            if end > program.size:
                raise DriverError(
                    f"the {engine.name} stream of job {self.name!r} ends at byte {end}, "
                    f"but its program buffer has {program.size} bytes")
        if not any(s.count for s in self.streams.values()):
            raise DriverError(f"job {self.name!r} has no commands")
        for layer in self.layers:
            if not 0 <= layer < layer_slots:
                raise DriverError(f"job {self.name!r} asks for counters of layer {layer}; "
                                  f"the chip keeps those of layers 0..{layer_slots - 1}")
        if not 0 <= self.timeout < 1 << 32:
            raise DriverError(f"timeout must be in 0..{(1 << 32) - 1} cycles, not {self.timeout}")
        if not 0 <= self.priority < PRIORITIES:
            raise DriverError(f"priority of job {self.name!r} must be in 0..{PRIORITIES - 1}, not {self.priority}")
        if not 0 <= self.time_limit < 1 << 32:
            raise DriverError(f"time_limit must be in 0..{(1 << 32) - 1} cycles, not {self.time_limit}")


@dataclass(frozen=True)
class Completion:
    """What the chip counted during a job.

    `counters` has every name of `lepton.arch.COUNTERS`; `snapshots[layer]` the
    counters (since the doorbell) at the end of that layer, by the names of
    `SNAPSHOT_COUNTERS`. A backend without timing counts 0 everywhere. `start` and `accepted`, with a controller:
    cycles since the chip's reset when the job began, and when its record was taken.
    """

    job: str
    cycles: int
    counters: dict[str, int]
    snapshots: dict[int, dict[str, int]]
    start: int = 0
    accepted: int = 0


@dataclass(eq=False)
class JobHandle:
    """A submitted job; give it to `Driver.wait`."""

    job: Job
    started: bool = False
    sequence: int = 0  # of its record in a client's ring
    completion: Completion | None = None
    error: ChipError | DriverError | None = None

    @property
    def done(self) -> bool:
        """It has ended, well or not."""
        return self.completion is not None or self.error is not None


class Port(Protocol):
    """The way of jobs to the chip: its registers (`DirectPort`) or the rings of a controller's client (`Client`).

    `queue`: the jobs that have not ended, in the order in which they were submitted.
    """

    def check_open(self) -> None:
        """Raise `DriverError` where jobs can no longer be handed over."""

    def feed(self, queue: deque[JobHandle]) -> None:
        """Hand over jobs of the queue that have not been, as many as there is room for."""

    def wait(self, handle: JobHandle, max_cycles: int) -> bool:
        """Let the board run until the job has ended; False if it has not within `max_cycles`."""

    def collect(self, handle: JobHandle) -> None:
        """Record the outcome of a job that has ended; the chip is ready for the next one then."""

    def abort(self, queue: deque[JobHandle]) -> None:
        """Stop the first job; the chip is ready for the next one then."""

    def close(self, queue: deque[JobHandle]) -> None:
        """Leave the chip to others."""
