"""The driver: device memory, jobs, counters and errors over any `lepton.device.Device`.

- `memory`: the allocator, `Buffer`, and the memory of a driver
- `job`: what is submitted (`Job`) and what comes back (`Completion`)
- `driver`: `Driver`, the queue of jobs; `direct` runs them by the chip's registers, `rings` through the controller's
- `recovery`: what memory owes to a job that has failed
- `controller`: `Controller`, which boots the chip's controller and gives clients their windows, over its `mailbox`
- `log`: the controller's event log
- `errors`: everything it raises
"""

from ..arch import Stream
from .controller import Controller
from .driver import DEFAULT_CYCLE_LIMIT, Driver
from .errors import AllocationError, BufferUseError, ChipError, DriverError, JobRefused, JobTimeout
from .job import Completion, Job, JobHandle
from .log import LogEvent
from .memory import Allocator, Buffer
from .rings import Client

__all__ = [
    "DEFAULT_CYCLE_LIMIT", "AllocationError", "Allocator", "Buffer", "BufferUseError", "ChipError", "Client",
    "Completion", "Controller", "Driver", "DriverError", "Job", "JobHandle", "JobRefused", "JobTimeout", "LogEvent",
    "Stream",
]
