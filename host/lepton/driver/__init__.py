"""The driver: device memory, jobs, counters and errors over any `lepton.device.Device`.

- `memory`: the allocator and `Buffer`
- `job`: what is submitted (`Job`, `Stream`) and what comes back (`Completion`)
- `driver`: `Driver`, which talks to the registers
- `errors`: everything it raises
"""

from .driver import DEFAULT_CYCLE_LIMIT, Driver
from .errors import AllocationError, BufferUseError, ChipError, DriverError, JobTimeout
from .job import Completion, Job, JobHandle, Stream
from .memory import Allocator, Buffer

__all__ = [
    "DEFAULT_CYCLE_LIMIT", "AllocationError", "Allocator", "Buffer", "BufferUseError", "ChipError", "Completion",
    "Driver", "DriverError", "Job", "JobHandle", "JobTimeout", "Stream",
]
