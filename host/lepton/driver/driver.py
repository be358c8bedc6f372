"""The driver: the only way from a program to the chip, whatever board it sits on."""

import threading
from collections import deque
from collections.abc import Callable

from ..arch import COUNTERS, REGISTERS, Engine, ErrorCode, Region
from ..arch.registers import IDENTIFICATION, SNAPSHOT_COUNTERS, VERSION, Control, Interrupt, State, snapshot_offset
from ..device import Device, DeviceError
from .errors import ChipError, DriverError, JobTimeout
from .job import Completion, Job, JobHandle, Stream
from .memory import Allocator, Buffer

DEFAULT_CYCLE_LIMIT = 2_000_000_000
MAX_CYCLE_LIMIT = (1 << 32) - 1  # the chip's cycle counter has 32 bits
WAIT_CHUNK = 100_000  # cycles between two calls of `progress`: a fraction of a second on the simulated board
ABORT_GRACE = 1_000_000  # cycles for open bus transfers to end after an abort, before the chip is reset

_ERROR_REGISTERS = ("STATUS", "ERROR_CODE", "ERROR_ENGINE", "ERROR_COMMAND", "ERROR_LAYER",
                    "ERROR_ADDRESS", "ERROR_ADDRESS_HI")


class Driver:
    """Memory, jobs and errors of one board.

        with lepton.device.open("rtl") as device, Driver(device) as driver:
            completion = driver.wait(driver.submit(job))

    Jobs run in the order in which they were submitted, one at a time; the
    methods may be called from several threads. Raises `DriverError` when the
    board carries another chip than `device.config` says.
    """

    def __init__(self, device: Device):
        self.device = device
        self.config = device.config
        self._lock = threading.RLock()
        self._queue: deque[JobHandle] = deque()  # submitted and not finished; the first may be in the chip
        self._buffers: set[Buffer] = set()
        self._closed = False
        self._identify()
        self._memory = Allocator(device.memory_bytes)

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Abort what runs, forget what waits, free all buffers. The device stays open: it is the caller's."""
        with self._lock:
            if self._closed:
                return
            try:
                if self._queue and self._queue[0].started:
                    self._abort()
                if self._queue:
                    self._write("IRQ_ENABLE", 0)
            finally:
                self._queue.clear()
                for buffer in list(self._buffers):
                    buffer._jobs = 0
                    self._release(buffer)
                self._closed = True

    # Memory

    @property
    def free_bytes(self) -> int:
        """Bytes of device memory that are not allocated."""
        return self._memory.free_bytes

    def allocate(self, size: int, name: str = "buffer") -> Buffer:
        """A buffer of `size` bytes, aligned to 64. Its contents are undefined.

        Raises `AllocationError` when memory does not suffice.
        """
        with self._lock:
            self._check_open()
            buffer = Buffer(self, self._memory.allocate(size), size, name)
            self._buffers.add(buffer)
            return buffer

    def _release(self, buffer: Buffer) -> None:
        with self._lock:
            self._memory.release(buffer.address, buffer.size)
            self._buffers.discard(buffer)
            buffer.freed = True

    # Jobs

    def submit(self, job: Job) -> JobHandle:
        """Queue a job; it starts at once if the chip is free.

        Raises `DriverError` or `BufferUseError` when the job refers to anything outside its buffers.
        """
        with self._lock:
            self._check_open()
            job.check(self, self.config.layer_slots)
            handle = JobHandle(job)
            for buffer in job.regions.values():
                buffer._jobs += 1
            self._queue.append(handle)
            try:
                self._start_next()
            except BaseException:
                if handle in self._queue:
                    self._retire(handle)
                raise
            return handle

    def wait(self, handle: JobHandle, *, cycle_limit: int = DEFAULT_CYCLE_LIMIT,
             progress: Callable[[int], None] | None = None) -> Completion:
        """Let the board run until the job has finished.

        Jobs that were submitted earlier finish first; what they raise is kept for
        their own `wait`. `progress` is called with the cycles since the job's
        doorbell, every `WAIT_CHUNK` cycles. Raises `ChipError` when the chip
        stopped the job, `JobTimeout` when `cycle_limit` cycles were not enough for it.
        """
        if not 0 < cycle_limit <= MAX_CYCLE_LIMIT:
            raise DriverError(f"cycle_limit must be in 1..{MAX_CYCLE_LIMIT} cycles, not {cycle_limit}")
        with self._lock:
            if not handle.done:
                self._check_open()
                if handle not in self._queue:
                    raise DriverError(f"job {handle.job.name!r} was not submitted to this driver")
            while not handle.done:
                first = self._queue[0]
                self._finish(first, cycle_limit, progress if first is handle else None)
            if handle.error is not None:
                raise handle.error
            return handle.completion

    def run(self, job: Job, **options) -> Completion:
        """`wait(submit(job), **options)`."""
        return self.wait(self.submit(job), **options)

    def _start_next(self) -> None:
        if not self._queue or self._queue[0].started:
            return
        job = self._queue[0].job
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
        self._write("IRQ_STATUS", Interrupt.DONE | Interrupt.ERROR)
        self._write("IRQ_ENABLE", Interrupt.DONE | Interrupt.ERROR)
        self._write("DOORBELL", 1)
        self._queue[0].started = True

    def _finish(self, handle: JobHandle, cycle_limit: int, progress) -> None:
        """Run the first job of the queue to its end, record what became of it, start the next."""
        try:
            self._start_next()
            waited = 0
            while not self.device.wait_interrupt(min(WAIT_CHUNK, cycle_limit - waited)):
                waited += min(WAIT_CHUNK, cycle_limit - waited)
                if progress:
                    progress(waited)
                if waited >= cycle_limit:
                    self._abort()
                    handle.error = JobTimeout(handle.job.name, cycle_limit)
                    break
            else:
                self._collect(handle)
        except BaseException:
            # a lost board, or the user's Ctrl-C: the job must not block those behind it
            if not handle.done:
                self._abandon(handle)
            raise
        self._retire(handle)
        self._start_next()

    def _collect(self, handle: JobHandle) -> None:
        status = self._read("STATUS")
        if status == State.DONE:
            handle.completion = self._completion(handle.job)
        elif status == State.ERROR:
            handle.error = ChipError(handle.job.name, {name: self._read(name) for name in _ERROR_REGISTERS})
            if handle.error.code == ErrorCode.AXI_TIMEOUT:
                self._write("CONTROL", Control.RESET)  # transfers that never ended would block the next job
        else:
            raise DriverError(f"the chip raised its interrupt with STATUS={status}, which must be "
                              f"{State.DONE:d} (done) or {State.ERROR:d} (error)")
        self._write("IRQ_STATUS", Interrupt.DONE | Interrupt.ERROR)

    def _completion(self, job: Job) -> Completion:
        counters = {name: self._read(name) for name, _ in COUNTERS}
        snapshots = {layer: {name: self.device.read_register(snapshot_offset(layer, name))
                             for name, _ in SNAPSHOT_COUNTERS} for layer in job.layers}
        return Completion(job.name, counters["CYCLES"], counters, snapshots)

    def _abort(self) -> None:
        """Stop the job in the chip and leave the chip ready for the next one."""
        self._write("CONTROL", Control.ABORT)
        if not self.device.wait_interrupt(ABORT_GRACE):
            self._write("CONTROL", Control.RESET)
        self._write("IRQ_STATUS", Interrupt.DONE | Interrupt.ERROR)

    def _abandon(self, handle: JobHandle) -> None:
        try:
            if handle.started:
                self._abort()
        except (DeviceError, OSError):
            pass  # the board itself is gone; the first error is the one to show
        finally:
            handle.error = DriverError(f"job {handle.job.name!r} was abandoned because waiting for it was interrupted")
            self._retire(handle)

    def _retire(self, handle: JobHandle) -> None:
        self._queue.remove(handle)
        for buffer in handle.job.regions.values():
            buffer._jobs -= 1

    # The chip

    def _identify(self) -> None:
        config = self.config
        expected = {
            "ID": IDENTIFICATION,
            "VERSION": VERSION,
            "GEOMETRY": config.lanes | config.columns << 8 | config.bus_bytes << 16,
            "SCRATCHPAD": config.scratchpad_bytes,
            "WEIGHTS": config.weight_bytes,
            "ACCUMULATORS": config.accumulator_rows,
        }
        remedy = {"ID": "is there a Lepton chip on this board?",
                  "VERSION": "use the driver and the chip of the same release"}
        for name, value in expected.items():
            found = self._read(name)
            if found != value:
                raise DriverError(
                    f"register {name} reads 0x{found:x}, but configuration {config.name!r} expects 0x{value:x}; "
                    + remedy.get(name, "open the device with the configuration that the chip was built for"))

    def _read(self, register: str) -> int:
        return self.device.read_register(REGISTERS[register].offset)

    def _write(self, register: str, value: int) -> None:
        self.device.write_register(REGISTERS[register].offset, int(value))

    def _check_open(self) -> None:
        if self._closed:
            raise DriverError("the driver has been closed; make a new Driver for the device")
