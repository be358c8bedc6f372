"""Device memory: an allocator over addresses, and the buffers that it hands out.

First fit over a sorted list of free extents, which are merged with their
neighbours when a buffer is freed. The list is short (a handful of buffers per
loaded network), so a better strategy would gain nothing.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable

import numpy as np

from ..device import Device
from .errors import AllocationError, BufferUseError

ALIGNMENT = 64  # command streams start at multiples of 64; a whole number of data beats on every bus


class Allocator:
    """Hands out aligned extents of `size` bytes of memory that start at `base`."""

    def __init__(self, size: int, base: int = 0):
        start = -(-base // ALIGNMENT) * ALIGNMENT
        end = (base + size) // ALIGNMENT * ALIGNMENT
        # (address, bytes), sorted, never adjacent
        self._free: list[tuple[int, int]] = [(start, end - start)] if end > start else []

    @property
    def free_bytes(self) -> int:
        """Bytes of all free extents."""
        return sum(size for _, size in self._free)

    @property
    def largest_free(self) -> int:
        """Bytes of the longest free extent."""
        return max((size for _, size in self._free), default=0)

    def allocate(self, size: int) -> int:
        """Address of a new extent. Raises `AllocationError` when no free extent is long enough."""
        if size < 1:
            raise AllocationError(f"a buffer must have at least 1 byte, not {size}")
        need = _round_up(size)
        for i, (address, extent) in enumerate(self._free):
            if extent >= need:
                self._free[i:i + 1] = [(address + need, extent - need)] if extent > need else []
                return address
        remedy = ("free buffers that are no longer needed" if need > self.free_bytes
                  else "memory is fragmented: free buffers and allocate the large ones first")
        raise AllocationError(
            f"cannot allocate {size} bytes of device memory: {self.free_bytes} bytes are free, "
            f"the largest piece has {self.largest_free}; {remedy}, or open a board with more memory")

    def release(self, address: int, size: int) -> None:
        """Take back what `allocate(size)` returned."""
        extent = _round_up(size)
        i = bisect_left(self._free, (address, 0))
        if i < len(self._free) and address + extent == self._free[i][0]:
            extent += self._free.pop(i)[1]
        if i and sum(self._free[i - 1]) == address:
            before = self._free.pop(i - 1)
            address = before[0]
            extent = before[1] + extent
        insort(self._free, (address, extent))


class DeviceMemory:
    """The memory of one driver: an allocator over a range of a device, and the buffers in it.

    While `lock` is held, no buffer changes and none becomes busy.
    `check_process` raises `DriverError` in a fork of the driver's process, `check_open` when the driver is closed.
    """

    def __init__(self, device: Device, allocator: Allocator, check_process: Callable[[], None],
                 check_open: Callable[[], None]):
        self.device = device
        self.lock = threading.RLock()
        self.check_process = check_process
        self.check_open = check_open
        self._allocator = allocator
        self._buffers: set[Buffer] = set()

    @property
    def free_bytes(self) -> int:
        """Bytes that are not allocated."""
        return self._allocator.free_bytes

    def allocate(self, size: int, name: str) -> "Buffer":
        """A buffer of `size` bytes. Raises `AllocationError` when memory does not suffice."""
        with self.lock:
            buffer = Buffer(self, self._allocator.allocate(size), size, name)
            self._buffers.add(buffer)
            return buffer

    def release(self, buffer: "Buffer") -> None:
        """Take a buffer's bytes back; it is `freed` from now on."""
        with self.lock:
            self._allocator.release(buffer.address, buffer.size)
            self._buffers.discard(buffer)
            buffer.freed = True

    def release_all(self) -> None:
        """Take back every buffer, also those that jobs use."""
        for buffer in list(self._buffers):
            self.release(buffer)


class Buffer:
    """A piece of device memory; made by `Driver.allocate`, usable as a context manager.

    `address` and `size` are bytes. A buffer that a submitted job uses can be
    read, but neither written nor freed until the job has been waited for.
    """

    def __init__(self, memory: DeviceMemory, address: int, size: int, name: str):
        self.memory = memory
        self.address = address
        self.size = size
        self.name = name
        self.freed = False
        self.generation = 0  # changes with every write
        self._users = 0  # submitted and unfinished jobs

    def __repr__(self) -> str:
        freed = " (freed)" if self.freed else ""
        return f"<Buffer {self.name!r} {self.size} bytes at 0x{self.address:x}{freed}>"

    def __enter__(self) -> "Buffer":
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.freed:
            self.free()

    def read(self, offset: int = 0, size: int | None = None) -> np.ndarray:
        """A copy of `size` bytes from `offset` (all the rest by default), shape (size,), dtype uint8."""
        size = self.size - offset if size is None else size
        self.memory.check_process()
        with self.memory.lock:
            self._check(offset, size, "read")
            return self.memory.device.read_memory(self.address + offset, size)

    def write(self, data: bytes | bytearray | memoryview | np.ndarray, offset: int = 0) -> None:
        """Write a bytes-like object or an array (in C order) at `offset` bytes."""
        array = np.ascontiguousarray(data) if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        values = array.reshape(-1).view(np.uint8)
        self.memory.check_process()
        with self.memory.lock:
            self._check(offset, values.size, "write")
            self._check_idle("written")
            self.generation += 1
            if values.size:
                self.memory.device.write_memory(self.address + offset, values)

    def fill(self, value: int) -> None:
        """Set every byte to `value` (0..255)."""
        self.write(np.full(self.size, value, np.uint8))

    def free(self) -> None:
        """Give the memory back. Raises `BufferUseError` for a second time, or while a job uses the buffer."""
        self.memory.check_process()
        with self.memory.lock:
            self._check_alive("freed")
            self._check_idle("freed")
            self.memory.release(self)

    def hold(self) -> None:
        """A job that uses the buffer has been submitted."""
        self._users += 1

    def let_go(self) -> None:
        """A job that used the buffer has ended."""
        self._users -= 1

    def _check_alive(self, what: str) -> None:
        if self.freed:
            raise BufferUseError(f"buffer {self.name!r} cannot be {what}: it has been freed")

    def _check_idle(self, what: str) -> None:
        if self._users:
            raise BufferUseError(
                f"buffer {self.name!r} cannot be {what} while a job uses it; wait for the job first")

    def _check(self, offset: int, size: int, what: str) -> None:
        self._check_alive("used")
        self.memory.check_open()
        if offset < 0 or size < 0 or offset + size > self.size:
            raise BufferUseError(
                f"cannot {what} {size} bytes at offset {offset} of buffer {self.name!r}: it has {self.size} bytes")


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
