"""The driver: device memory, jobs, counters and errors over any `lepton.device.Device`.

- `memory`: the allocator, `Buffer`, and the memory of a driver
- `job`: what is submitted (`Job`) and what comes back (`Completion`)
- `driver`: `Driver`, the queue of jobs; `direct` runs them by the chip's registers, `rings` through the controller's
- `recovery`: waits for the transactions that a failed job has left open
- `controller`: `BoardController`, which boots the chip's controller and gives clients their windows;
  `controller_registers`: the registers that it and its clients use
- `log`: the controller's event log
- `errors`: everything it raises
"""

from ..arch import Stream
from .controller import BoardController
from .driver import DEFAULT_CYCLE_LIMIT, Driver
from .errors import AllocationError, BufferUseError, ChipError, DriverError, JobRefused, JobTimeout
from .job import Completion, Job, JobHandle
from .log import LogEvent
from .memory import Allocator, Buffer
from .rings import Client

__all__ = [
    "DEFAULT_CYCLE_LIMIT", "AllocationError", "Allocator", "BoardController", "Buffer", "BufferUseError", "ChipError",
    "Client", "Completion", "Driver", "DriverError", "Job", "JobHandle", "JobRefused", "JobTimeout", "LogEvent",
    "Stream",
]
