"""Recovery of memory after a job that did not end as done: its open transactions are waited for, or forgotten."""

from ..arch import REGISTERS
from ..arch.registers import DRAIN_LIMIT, Control, MemoryStatus
from ..device import Device

FIRST_WAIT = 100  # cycles (the default memory answers within 64); every further wait is as long as all before it
OPEN = MemoryStatus.READS_OPEN | MemoryStatus.WRITES_OPEN
BROKEN = MemoryStatus.READ_BROKEN | MemoryStatus.WRITE_BROKEN


def settle_memory(device: Device) -> None:
    """Let the board run until memory has answered all that the last job left open.

    Memory that has not within `DRAIN_LIMIT` cycles, or that broke the protocol, is told to forget its transactions
    (CONTROL.MEMORY_RESET). No interrupt may be pending, and no job running.
    """
    waited = 0
    while (status := _status(device)) & OPEN and not status & BROKEN and waited < DRAIN_LIMIT:
        cycles = min(max(FIRST_WAIT, waited), DRAIN_LIMIT - waited)
        device.wait_interrupt(cycles)
        waited += cycles
    if status:
        device.write_register(REGISTERS["CONTROL"].offset, Control.MEMORY_RESET)


def _status(device: Device) -> MemoryStatus:
    status = MemoryStatus(device.read_register(REGISTERS["MEMORY_STATUS"].offset))
    return status & (OPEN | BROKEN)  # a timeout whose transactions have ended since is over
