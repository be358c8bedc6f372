"""What can go wrong between a program and the chip."""

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeVar

from ..arch import Engine, ErrorCode
from ..arch.controller import Refusal

_Enum = TypeVar("_Enum", bound=IntEnum)


class DriverError(RuntimeError):
    """The driver refused a request before it reached the chip, or the board is not the expected chip."""


class AllocationError(DriverError):
    """Device memory cannot hold the buffer."""


class BufferUseError(DriverError):
    """A buffer was used outside its bounds, after it was freed, or while a job uses it."""


class JobTimeout(DriverError):
    """The job was aborted because it ran into its cycle limit. The chip takes further jobs."""

    def __init__(self, job_name: str, cycle_limit: int):
        self.cycle_limit = cycle_limit
        super().__init__(
            f"job {job_name!r} did not finish within cycle_limit={cycle_limit} cycles and was aborted; "
            "give wait() a larger cycle_limit if the network is expected to take longer")


class JobRefused(DriverError):
    """The controller refused the job's record; nothing of the job was done. `reason` is a `Refusal`."""

    def __init__(self, job_name: str, reason: Refusal):
        self.reason = reason
        super().__init__(f"the controller refused job {job_name!r} with {reason.name}: {reason.text}")


class ChipError(RuntimeError):
    """The chip stopped a job. The chip takes further jobs.

    Attributes: `code` (`ErrorCode`), `engine` (`Engine`), `command` (index in the
    engine's stream), `layer` (neither is known for AXI_TIMEOUT), `address` (byte address or offending value),
    and `registers` with the raw values of STATUS and of every ERROR register.
    """

    def __init__(self, job_name: str, registers: Mapping[str, int]):
        self.registers = dict(registers)
        self.code = _enum_or_int(ErrorCode, registers["ERROR_CODE"])
        self.engine = _enum_or_int(Engine, registers["ERROR_ENGINE"])
        self.command = registers["ERROR_COMMAND"]
        self.layer = registers["ERROR_LAYER"]
        self.address = registers["ERROR_ADDRESS"] | registers["ERROR_ADDRESS_HI"] << 32
        if isinstance(self.code, ErrorCode):
            cause = f"{self.code.name}: {self.code.text}"
        else:
            cause = f"code {self.code}, which this driver does not know; is the driver older than the chip?"
        engine = self.engine.name if isinstance(self.engine, Engine) else f"engine {self.engine}"
        # a port that waits for memory no longer knows whose access it was
        timed_out = self.code == ErrorCode.AXI_TIMEOUT
        where = "one of its commands" if timed_out else f"command {self.command}, layer {self.layer}"
        values = ", ".join(f"{name}=0x{value:x}" for name, value in self.registers.items())
        super().__init__(
            f"the chip stopped job {job_name!r} with {cause} "
            f"({engine} {where}, address 0x{self.address:x}; registers: {values})")


def _enum_or_int(enum: type[_Enum], value: int) -> "_Enum | int":
    try:
        return enum(value)
    except ValueError:
        return value
