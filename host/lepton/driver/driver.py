"""The driver: the only way from a program to the chip, whatever board it sits on."""

import threading
from collections import deque
from collections.abc import Callable
from operator import index

from ..arch import REGISTERS
from ..arch.registers import IDENTIFICATION, VERSION
from ..device import Device, DeviceError
from .claims import Claim, holder_of
from .direct import DirectPort
from .errors import DriverError, JobTimeout
from .job import Completion, Job, JobHandle, Port
from .memory import Allocator, Buffer, DeviceMemory
from .rings import Client

DEFAULT_CYCLE_LIMIT = 2_000_000_000  # about half of what the chip's cycle counter holds
MAX_CYCLE_LIMIT = (1 << 32) - 1  # the chip's cycle counter has 32 bits
WAIT_CHUNK = 100_000  # cycles between two calls of `progress`: a fraction of a second on the simulated board
_sharing = threading.RLock()  # over `Driver.shared` and `Driver.leave`


class Driver:
    """Memory, jobs and errors of one board.

        with lepton.device.open("rtl") as device, Driver(device) as driver:
            completion = driver.wait(driver.submit(job))

    With `client` (of a `BoardController`), jobs go through its rings, in turn with those of other clients, and memory
    is that of its window; without, the host has the chip to itself. Jobs run in the order in which they were
    submitted, one at a time. The methods may be called from several threads, but not in a fork of the process.
    Raises `DriverError` when the board carries another chip than `device.config` says, and when another open
    `Driver` or `BoardController` uses the device (or another `Driver` the client): several sessions share one driver.
    `default_cycle_limit`: cycles after which a job is aborted where `wait` is given no limit.
    """

    default_cycle_limit = DEFAULT_CYCLE_LIMIT

    def __init__(self, device: Device, client: Client | None = None):
        if client is not None and client.controller.device is not device:
            raise DriverError("the client belongs to the controller of another device; give the device of its "
                              "controller")
        self.device = device
        self.config = device.config
        self._claim = Claim(device if client is None else client, self, "close it first, or share it: several "
                            "sessions take one driver, as in Session(model, driver)")
        self._users: int | None = None  # sessions that share it, for a driver of `shared`
        self._queue: deque[JobHandle] = deque()  # submitted and not finished; the first may be in the chip
        self._closed = False
        try:
            self._identify()
        except BaseException:
            self._claim.release()
            raise
        self._port: Port = DirectPort(device) if client is None else client
        allocator = (Allocator(device.memory_bytes) if client is None else
                     Allocator(client.memory_bytes, client.memory_base))
        self._memory = DeviceMemory(device, allocator, self.check_process, self._check_open)
        self._lock = self._memory.lock

    @classmethod
    def shared(cls, device: Device) -> "Driver":
        """The driver that those who share a device by this method have; each gives it back with `leave`.

        Raises `DriverError` like the constructor.
        """
        with _sharing:
            holder = holder_of(device)
            driver = holder if isinstance(holder, Driver) and holder._users is not None else cls(device)
            driver.check_process()
            driver._users = (driver._users or 0) + 1
            return driver

    def leave(self) -> None:
        """Give back what `shared` returned; the last one closes it."""
        with _sharing:
            if self._users is not None:
                self._users -= 1
                if self._users == 0:
                    self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one that made the driver, and may not use it."""
        return self._claim.inherited

    def check_process(self) -> None:
        """Raise `DriverError` if the driver is `inherited`."""
        self._claim.check_process()

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Abort what runs, forget what waits, free all buffers. The device stays open: it is the caller's."""
        if self.inherited:
            self._closed = True  # the chip's work is the other process's
            return
        with self._lock:
            if self._closed:
                return
            try:
                if self._queue and self._queue[0].started:
                    self._port.abort(self._queue)
                self._port.close(self._queue)
            finally:
                self._queue.clear()
                self._memory.release_all()
                self._closed = True
                self._claim.release()

    # Memory

    @property
    def free_bytes(self) -> int:
        """Bytes of device memory that are not allocated."""
        return self._memory.free_bytes

    def allocate(self, size: int, name: str = "buffer") -> Buffer:
        """A buffer of `size` bytes, aligned to 64. Its contents are undefined.

        Raises `AllocationError` when memory does not suffice.
        """
        self.check_process()
        with self._lock:
            self._check_open()
            return self._memory.allocate(size, name)

    # Jobs

    def submit(self, job: Job) -> JobHandle:
        """Queue a job; it starts at once if the chip is free.

        Raises `DriverError` or `BufferUseError` when the job refers to anything outside its buffers.
        """
        self.check_process()
        with self._lock:
            self._check_open()
            job.check(self._memory, self.config.layer_slots)
            handle = JobHandle(job)
            for buffer in job.regions.values():
                buffer.hold()
            self._queue.append(handle)
            try:
                self._port.feed(self._queue)
            except BaseException:
                if handle in self._queue:
                    self._retire(handle)
                raise
            return handle

    def wait(self, handle: JobHandle, *, cycle_limit: int | None = None,
             progress: Callable[[int], None] | None = None) -> Completion:
        """Let the board run until the job has finished.

        Jobs that were submitted earlier finish first; what they raise is kept for
        their own `wait`. `progress` is called with the cycles since the job's
        doorbell, every `WAIT_CHUNK` cycles. Raises `ChipError` when the chip
        stopped the job, `JobTimeout` when `cycle_limit` cycles (default: `default_cycle_limit`) were not enough for it.
        """
        limit = self._limit(cycle_limit)
        self.check_process()
        with self._lock:
            if not handle.done:
                self._check_open()
                if handle not in self._queue:
                    raise DriverError(f"job {handle.job.name!r} was not submitted to this driver")
            while not handle.done:
                first = self._queue[0]
                self._finish(first, limit, progress if first is handle else None)
            if handle.completion is None:
                raise handle.error or DriverError(f"job {handle.job.name!r} has ended without a result")
            return handle.completion

    def run(self, job: Job, *, cycle_limit: int | None = None,
            progress: Callable[[int], None] | None = None) -> Completion:
        """`wait(submit(job))` with the options of `wait`, which are checked before anything is submitted."""
        self._limit(cycle_limit)
        return self.wait(self.submit(job), cycle_limit=cycle_limit, progress=progress)

    def _limit(self, cycle_limit: int | None) -> int:
        if cycle_limit is None:
            return self.default_cycle_limit
        try:
            limit = index(cycle_limit)
        except TypeError:
            limit = 0
        if not 0 < limit <= MAX_CYCLE_LIMIT:
            raise DriverError(f"cycle_limit must be in 1..{MAX_CYCLE_LIMIT} cycles, not {cycle_limit!r}")
        return limit

    def _finish(self, handle: JobHandle, cycle_limit: int, progress: Callable[[int], None] | None) -> None:
        """Run the first job of the queue to its end, record its outcome, start the next."""
        try:
            self._port.feed(self._queue)
            waited = 0
            while not self._port.wait(handle, min(WAIT_CHUNK, cycle_limit - waited)):
                waited += min(WAIT_CHUNK, cycle_limit - waited)
                if progress:
                    progress(waited)
                if waited >= cycle_limit:
                    self._port.abort(self._queue)
                    handle.error = JobTimeout(handle.job.name, cycle_limit)
                    break
            else:
                self._port.collect(handle)
        except BaseException:
            # a lost board, or the user's Ctrl-C: the job must not block those behind it
            if not handle.done:
                self._abandon(handle)
            raise
        self._retire(handle)
        self._port.feed(self._queue)

    def _abandon(self, handle: JobHandle) -> None:
        try:
            if handle.started:
                self._port.abort(self._queue)
        except (DeviceError, OSError):
            pass  # the board no longer answers; the first error is the one to show
        finally:
            handle.error = DriverError(f"job {handle.job.name!r} was abandoned because waiting for it was interrupted")
            self._retire(handle)

    def _retire(self, handle: JobHandle) -> None:
        self._queue.remove(handle)
        for buffer in handle.job.regions.values():
            buffer.let_go()

    # The chip

    def _identify(self) -> None:
        config = self.config
        expected = {
            "ID": IDENTIFICATION,
            "VERSION": VERSION,
            "GEOMETRY": config.lanes | config.columns << 8 | config.bus_bytes << 16 | config.row_lanes << 24,
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

    def _check_open(self) -> None:
        if self._closed:
            raise DriverError("the driver has been closed; make a new Driver for the device")
        self._port.check_open()
