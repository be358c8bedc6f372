"""Jobs written straight into the chip's registers: one at a time, by a host that has the chip for itself."""

from collections import deque

from ..arch import COUNTERS, REGISTERS, Engine, Region, Stream
from ..arch.registers import DRAIN_LIMIT, SNAPSHOT_COUNTERS, Control, Interrupt, State, snapshot_offset
from ..device import Device
from .errors import ChipError, DriverError
from .job import Completion, Job, JobHandle
from .recovery import settle_memory

_ENDED = Interrupt.DONE | Interrupt.ERROR
_ERROR_REGISTERS = ("STATUS", "ERROR_CODE", "ERROR_ENGINE", "ERROR_COMMAND", "ERROR_LAYER",
                    "ERROR_ADDRESS", "ERROR_ADDRESS_HI")


class DirectPort:
    """The chip's registers as a place to run jobs: a `Port`."""

    def __init__(self, device: Device):
        self._device = device

    def check_open(self) -> None:
        """The registers are always there."""

    def feed(self, queue: deque[JobHandle]) -> None:
        """Start the first job of the queue, if it has not been."""
        if not queue or queue[0].started:
            return
        job = queue[0].job
        for engine in Engine:
            stream = job.streams.get(engine, Stream(0, 0))
            self._write(f"{engine.name}_PROGRAM", stream.offset)
            self._write(f"{engine.name}_COUNT", stream.count)
        for region in Region:
            buffer = job.regions.get(region)
            address, size = (buffer.address, buffer.size) if buffer else (0, 0)
            self._write(f"{region.name}_BASE", address & 0xFFFF_FFFF)
            self._write(f"{region.name}_BASE_HI", address >> 32)
            self._write(f"{region.name}_SIZE", size)
        self._write("TIMEOUT", job.timeout)
        self._write("IRQ_STATUS", _ENDED)
        self._write("IRQ_ENABLE", _ENDED)
        self._write("DOORBELL", 1)
        queue[0].started = True

    def wait(self, handle: JobHandle, max_cycles: int) -> bool:
        """Let the board run until the job has ended; False if it has not within `max_cycles`."""
        return self._device.wait_interrupt(max_cycles)

    def collect(self, handle: JobHandle) -> None:
        """Record the outcome of a job that has ended; after an error, wait for its open transactions."""
        status = self._read("STATUS")
        if status == State.DONE:
            handle.completion = self._completion(handle.job)
            self._write("IRQ_STATUS", _ENDED)
        elif status == State.ERROR:
            handle.error = ChipError(handle.job.name, {name: self._read(name) for name in _ERROR_REGISTERS})
            self._write("IRQ_STATUS", _ENDED)
            settle_memory(self._device)
        else:
            raise DriverError(f"the chip raised its interrupt with STATUS={status}, which must be "
                              f"{State.DONE:d} (done) or {State.ERROR:d} (error)")

    def abort(self, queue: deque[JobHandle]) -> None:
        """Stop the job in the chip and leave the chip ready for the next one."""
        self._write("CONTROL", Control.ABORT)
        if not self._device.wait_interrupt(DRAIN_LIMIT):
            self._write("CONTROL", Control.RESET)
        self._write("IRQ_STATUS", _ENDED)
        settle_memory(self._device)

    def close(self, queue: deque[JobHandle]) -> None:
        """Leave the chip as it was found."""
        if queue:
            self._write("IRQ_ENABLE", 0)

    def _completion(self, job: Job) -> Completion:
        counters = {name: self._read(name) for name, _ in COUNTERS}
        snapshots = {layer: {name: self._device.read_register(snapshot_offset(layer, name))
                             for name, _ in SNAPSHOT_COUNTERS} for layer in job.layers}
        return Completion(job.name, counters["CYCLES"], counters, snapshots)

    def _read(self, register: str) -> int:
        return self._device.read_register(REGISTERS[register].offset)

    def _write(self, register: str, value: int) -> None:
        self._device.write_register(REGISTERS[register].offset, int(value))
