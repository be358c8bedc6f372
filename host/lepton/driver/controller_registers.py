"""The controller's registers, as every client and the one who boots it use them."""

from ..arch.controller import CLIENTS, LOG_EVENTS, BootError, BootState, EventKind, EventRecord, host_offset
from ..device import Device
from .errors import DriverError
from .log import LogEvent

RESET_LIMIT = 2_000_000  # cycles for a client's running job to end
STATUS_CHANGED = 1 << CLIENTS  # bit of CLIENT_IRQ and CLIENT_IRQ_ENABLE


class ControllerRegisters:
    """The registers of the controller of `device`, whose window begins at `base`."""

    def __init__(self, device: Device, base: int):
        self.device = device
        self.base = base

    @property
    def state(self) -> BootState:
        """CONTROLLER_STATUS."""
        return BootState(self.read("CONTROLLER_STATUS"))

    def log(self) -> list[LogEvent]:
        """The events that the log still holds, oldest first."""
        count = self.read("LOG_COUNT")
        events = []
        for sequence in range(max(0, count - LOG_EVENTS), count):
            offset = sequence % LOG_EVENTS * EventRecord.size
            values = EventRecord.unpack(bytes(self.device.read_memory(self.base + offset, EventRecord.size)))
            if values["sequence"] == sequence and values["kind"] in set(EventKind):  # else memory has failed
                events.append(LogEvent(sequence, values["time"], EventKind(values["kind"]), values["client"],
                                       (values["arg0"], values["arg1"], values["arg2"], values["arg3"])))
        return events

    def reset_clients(self, mask: int) -> None:
        """Let the firmware forget the jobs of the clients in `mask`; waits until it has."""
        self.write("CLIENT_RESET", mask)
        waited = 0
        while self.read("CLIENT_RESET") & mask:
            self.check_running()
            self.write("CLIENT_IRQ_ENABLE", STATUS_CHANGED)
            self.device.wait_interrupt(1000)
            waited += 1000
            if waited > RESET_LIMIT:
                raise DriverError(f"the controller did not reset clients {mask:#x} within {RESET_LIMIT} cycles; "
                                  f"its log says: {self.log()[-3:]}")

    def check_running(self) -> None:
        """Raise `DriverError` unless the controller serves jobs."""
        state = self.state
        if state == BootState.READY:
            return
        detail = self.read("DETAIL")
        if state == BootState.FAILED:
            known = detail in set(BootError)
            cause = f"{BootError(detail).name}: {BootError(detail).text}" if known else f"code {detail}"
            raise DriverError(f"the controller has failed with {cause}")
        if state == BootState.HALTED:
            raise DriverError(f"the controller's processor has halted at address {detail:#x}: its firmware is broken; "
                              "open a new BoardController to restart it")
        raise DriverError(f"the controller does not serve jobs: its state is {state.name}")

    def read(self, register: str) -> int:
        """A register of `lepton.arch.controller`."""
        return self.device.read_register(host_offset(register))

    def write(self, register: str, value: int) -> None:
        """Write a register of `lepton.arch.controller`."""
        self.device.write_register(host_offset(register), value)

    def write_window(self, name: str, base: int, size: int) -> None:
        """Give a window to "CONTROLLER" or "CLIENT<i>"."""
        self.write(f"{name}_BASE", base & 0xFFFF_FFFF)
        self.write(f"{name}_BASE_HI", base >> 32)
        self.write(f"{name}_SIZE", size)
