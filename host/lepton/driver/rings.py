"""A client of the controller: jobs go through a ring in its window, and their completions come back the same way."""

import zlib
from collections import deque
from collections.abc import Callable

from ..arch import COUNTERS, Engine, Region, Stream
from ..arch.controller import (
    COMPLETION_BYTES,
    COMPLETION_RING,
    JOB_BYTES,
    JOB_MAGIC,
    RING_ENTRIES,
    RINGS_BYTES,
    CompletionRecord,
    JobFlag,
    JobRecord,
    JobStatus,
    Refusal,
)
from ..arch.registers import SNAPSHOT_COUNTERS, State
from .controller_registers import STATUS_CHANGED, ControllerRegisters
from .errors import ChipError, DriverError, JobRefused, JobTimeout
from .job import Completion, Job, JobHandle
from .memory import Buffer

SLOT_BYTES = 4 * len(SNAPSHOT_COUNTERS)
SNAPSHOT_BYTES = 256 * SLOT_BYTES  # room for the snapshots of one job, 256 layers (`ChipConfig.layer_slots`)
RESERVED_BYTES = RINGS_BYTES + RING_ENTRIES * SNAPSHOT_BYTES  # of a window, for the driver


class Client:
    """One of the controller's clients, made by `BoardController.client`; give it to a `Driver`, whose `Port` it is.

    Its window begins with the rings and the snapshots of the jobs in them; the rest, `memory_bytes` from
    `memory_base`, is for buffers. `release` gives the window back.
    """

    def __init__(self, controller: ControllerRegisters, index: int, base: int, size: int,
                 release: Callable[["Client"], None]):
        self.controller = controller
        self.index = index
        self.base = base
        self.size = size
        self.memory_base = base + RESERVED_BYTES
        self.memory_bytes = size - RESERVED_BYTES
        self.released = False  # its window may be another's
        self._release = release
        self._next = 0  # sequence of the next record
        self._verified: dict[Buffer, tuple[int, int]] = {}  # generation and hash of programs that were verified

    def check_open(self) -> None:
        """Raise `DriverError` if the controller has taken the client back."""
        if self.released:
            raise DriverError("the controller has taken this client back; ask it for another with "
                              "controller.client(), and make a Driver for that")

    def feed(self, queue: deque[JobHandle]) -> None:
        """Put jobs of the queue into the ring, as many as it takes."""
        in_flight = sum(handle.started for handle in queue)
        before = self._next
        for handle in queue:
            if in_flight == RING_ENTRIES:
                break
            if not handle.started:
                self.controller.device.write_memory(
                    self.base + self._next % RING_ENTRIES * JOB_BYTES, self._record(handle.job, self._next))
                handle.sequence = self._next
                handle.started = True
                self._next = (self._next + 1) % (1 << 32)
                in_flight += 1
        if self._next != before:
            self._write("TAIL", self._next)

    def wait(self, handle: JobHandle, max_cycles: int) -> bool:
        """Let the board run until the job has ended; False if it has not within `max_cycles`."""
        controller = self.controller
        mine = 1 << self.index
        start = controller.read("TIME")
        while True:
            controller.write("CLIENT_IRQ", mine)
            if self._ended(handle):
                return True
            elapsed = (controller.read("TIME") - start) % (1 << 32)
            if elapsed >= max_cycles:
                return False
            controller.write("CLIENT_IRQ_ENABLE", mine | STATUS_CHANGED)
            if controller.device.wait_interrupt(max_cycles - elapsed):
                controller.check_running()

    def collect(self, handle: JobHandle) -> None:
        """Record the outcome of a job that has ended."""
        job = handle.job
        slot = handle.sequence % RING_ENTRIES
        values = CompletionRecord.unpack(bytes(self.controller.device.read_memory(
            self.base + COMPLETION_RING + slot * COMPLETION_BYTES, COMPLETION_BYTES)))
        if values["sequence"] != handle.sequence or values["status"] not in set(JobStatus):
            handle.error = DriverError(f"the completion of job {job.name!r} was not written: memory failed, or "
                                       "something wrote over the ring")
            return
        status = JobStatus(values["status"])
        if status == JobStatus.DONE:
            counters = {name: values[name.lower()] for name, _ in COUNTERS}
            handle.completion = Completion(job.name, counters["CYCLES"], counters, self._snapshots(job, slot),
                                           values["start"], values["accepted"])
        elif status == JobStatus.REFUSED:
            handle.error = JobRefused(job.name, Refusal(values["reason"]))
        elif status == JobStatus.TIME_LIMIT:
            handle.error = JobTimeout(job.name, job.time_limit or self._read("LIMIT"))
        else:
            address = values["error_address"]
            handle.error = ChipError(job.name, {
                "STATUS": State.ERROR, "ERROR_CODE": values["error_code"], "ERROR_ENGINE": values["error_engine"],
                "ERROR_COMMAND": values["error_command"], "ERROR_LAYER": values["error_layer"],
                "ERROR_ADDRESS": address & 0xFFFF_FFFF, "ERROR_ADDRESS_HI": address >> 32})

    def abort(self, queue: deque[JobHandle]) -> None:
        """Forget the first job; those behind it go into the ring anew with the next `feed`."""
        if self.released:
            return
        self._write("TAIL", 0)
        self.controller.reset_clients(1 << self.index)
        self._next = 0
        for handle in queue:
            handle.started = False

    def close(self, queue: deque[JobHandle]) -> None:
        """Give the window back."""
        self._release(self)

    def _record(self, job: Job, sequence: int) -> bytes:
        program = job.regions[Region.PROGRAM]
        fields: dict[str, int] = {}
        for engine in Engine:
            stream = job.streams.get(engine, Stream(0, 0))
            fields |= {f"{engine.name.lower()}_program": stream.offset, f"{engine.name.lower()}_count": stream.count}
        for region, buffer in job.regions.items():
            fields |= {f"{region.name.lower()}_offset": buffer.address - self.base,
                       f"{region.name.lower()}_size": buffer.size}
        digest, verified = self._hash(program)
        flags = 0 if verified else JobFlag.VERIFY
        if job.layers:
            flags |= JobFlag.SNAPSHOTS
            fields |= {"snapshot_offset": self._snapshot_offset(sequence % RING_ENTRIES),
                       "snapshot_count": max(job.layers) + 1}
        record = JobRecord.pack(magic=JOB_MAGIC, sequence=sequence, flags=flags, priority=job.priority,
                                time_limit=job.time_limit, timeout=job.timeout, program_hash=digest, **fields)
        return record[:-4] + zlib.crc32(record[:-4]).to_bytes(4, "little")

    def _hash(self, program: Buffer) -> tuple[int, bool]:
        """CRC32 of the program, and whether the controller has verified it since it was written."""
        generation, digest = self._verified.get(program, (-1, 0))
        if generation == program.generation:
            return digest, True
        digest = zlib.crc32(self.controller.device.read_memory(program.address, program.size & ~3).tobytes())
        self._verified = {buffer: known for buffer, known in self._verified.items() if not buffer.freed}
        self._verified[program] = program.generation, digest
        return digest, False

    @staticmethod
    def _snapshot_offset(slot: int) -> int:
        return RINGS_BYTES + slot * SNAPSHOT_BYTES

    def _snapshots(self, job: Job, slot: int) -> dict[int, dict[str, int]]:
        found = {}
        for layer in job.layers:
            at = self.base + self._snapshot_offset(slot) + layer * SLOT_BYTES
            words = self.controller.device.read_memory(at, SLOT_BYTES).view("<u4")
            found[layer] = {name: int(word) for (name, _), word in zip(SNAPSHOT_COUNTERS, words, strict=True)}
        return found

    def _ended(self, handle: JobHandle) -> bool:
        return (self._read("DONE") - handle.sequence - 1) % (1 << 32) < 1 << 31

    def _read(self, name: str) -> int:
        return self.controller.read(f"CLIENT{self.index}_{name}")

    def _write(self, name: str, value: int) -> None:
        self.controller.write(f"CLIENT{self.index}_{name}", value)
