"""The driver: device memory, jobs, counters and errors over any `lepton.device.Device`.

- `memory`: the allocator and `Buffer`
- `job`: what is submitted (`Job`, `Stream`) and what comes back (`Completion`)
- `driver`: `Driver`, the queue of jobs; `direct` runs them by the chip's registers, `rings` through the controller's
- `controller`: `Controller`, which boots the chip's controller and gives clients their windows
- `errors`: everything it raises
"""

from .controller import Controller, LogEvent
from .driver import DEFAULT_CYCLE_LIMIT, Driver
from .errors import AllocationError, BufferUseError, ChipError, DriverError, JobRefused, JobTimeout
from .job import Completion, Job, JobHandle, Stream
from .memory import Allocator, Buffer
from .rings import Client

__all__ = [
    "DEFAULT_CYCLE_LIMIT", "AllocationError", "Allocator", "Buffer", "BufferUseError", "ChipError", "Client",
    "Completion", "Controller", "Driver", "DriverError", "Job", "JobHandle", "JobRefused", "JobTimeout", "LogEvent",
    "Stream",
]
