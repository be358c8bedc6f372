"""The controller as the host sees it: booting it, giving clients their windows, reading its event log."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..arch import ErrorCode
from ..arch.controller import (
    CLIENTS,
    IMAGE_OFFSET,
    LOG_EVENTS,
    PRIORITIES,
    BootError,
    BootState,
    EventKind,
    EventRecord,
    JobStatus,
    Refusal,
    host_offset,
)
from ..arch.registers import REGISTERS
from ..arch.registers import Control as ControlBit
from ..device import Device
from .claims import Claim
from .errors import DriverError
from .memory import ALIGNMENT, Allocator
from .rings import RESERVED_BYTES, Client

WINDOW_BYTES = 1 << 17  # of the controller: log, image, self-test
BOOT_LIMIT = 2_000_000  # cycles; the largest preset needs a fifth
RESET_LIMIT = 2_000_000  # cycles for a client's running job to end
STATUS_CHANGED = 1 << CLIENTS


# What the arguments of an event are called, and which of them are codes.
_ARGUMENTS = {
    EventKind.BOOT: ("firmware", "cycles"), EventKind.START: ("job", "program", "limit"),
    EventKind.END: ("job", "status", "cycles", "error"), EventKind.REFUSED: ("job", "reason"),
    EventKind.BAD_DOORBELL: ("tail", "head"), EventKind.CLIENT_RESET: (), EventKind.TIME_LIMIT: ("job", "limit"),
    EventKind.ABORT: ("job",), EventKind.ENGINE_RESET: ("job",), EventKind.MEMORY_FAULT: ("offset", "bytes")}
_CODES = {"status": JobStatus, "error": ErrorCode, "reason": Refusal}


@dataclass(frozen=True)
class LogEvent:
    """An entry of the event log; `time` in cycles since the chip's reset, `arguments` as `EventKind` says."""

    sequence: int
    time: int
    kind: EventKind
    client: int
    arguments: tuple[int, int, int, int]

    @property
    def who(self) -> str:
        return f"client {self.client}" if self.client < CLIENTS else "controller"

    @property
    def details(self) -> str:
        """The arguments with their names, and codes in words."""
        def shown(name: str, value: int) -> str:
            if name in _CODES:
                return _CODES[name](value).name if value in set(_CODES[name]) else str(value)
            return f"{value:#x}" if name in ("firmware", "program") else str(value)

        values = zip(_ARGUMENTS[self.kind], self.arguments, strict=False)
        return " ".join(f"{name} {shown(name, value)}" for name, value in values)

    def __str__(self) -> str:
        return f"{self.sequence:6} {self.time:14} {self.who:10} {self.kind.name:13} {self.details}"


class Controller:
    """The controller of a board, serving jobs.

        with Controller(device) as controller, Driver(device, controller.client()) as driver:
            driver.run(job)

    Boots it with `image` (default: the firmware of this source tree, signed with the checkout's own key) after
    checking that one of the `trusted` Ed25519 public keys has signed it. One that serves already is taken over as
    it is: whatever an earlier host left behind is forgotten. Raises `DriverError`, also while another open
    `Controller` or a `Driver` without a client uses the device, or `ImageError`.
    """

    def __init__(self, device: Device, image: bytes | None = None, trusted: list | None = None):
        if not device.config.controller:
            raise DriverError(f"configuration {device.config.name!r} has no controller; open the device with "
                              "config.with_(controller=True), or use a Driver without a client")
        self.device = device
        self.base = (device.memory_bytes - WINDOW_BYTES) // ALIGNMENT * ALIGNMENT
        if self.base < RESERVED_BYTES:
            raise DriverError(f"a board with a controller needs more than {device.memory_bytes} bytes of memory")
        self._claim = Claim(device, self, "close it first; jobs through a controller take a Driver with a client, as "
                            "in Driver(device, controller.client())")
        self._memory = Allocator(self.base)
        self._clients: dict[int, Client] = {}
        try:
            if self.state == BootState.READY:
                self._take_over()
            else:
                self._boot(image, trusted)
        except BaseException:
            self._claim.release()
            raise

    def __enter__(self) -> "Controller":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Disable all clients. The controller goes on; the device stays open."""
        if self._claim.inherited:
            return
        try:
            for index in list(self._clients):
                self._disable(index)
        finally:
            self._claim.release()

    @property
    def state(self) -> BootState:
        """CONTROLLER_STATUS."""
        return BootState(self.read("CONTROLLER_STATUS"))

    def client(self, memory_bytes: int | None = None, *, priority: int = PRIORITIES - 1,
               limit: int = 0) -> Client:
        """A new client with a window of its own, of `memory_bytes` (default: the largest free piece).

        `priority`: the highest that its jobs may have. `limit`: cycles that a job of it may take, 0 for any.
        Raises `DriverError` when all clients are taken, `AllocationError` when memory does not suffice.
        """
        self._claim.check_process()
        free = [i for i in range(CLIENTS) if i not in self._clients]
        if not free:
            raise DriverError(f"all {CLIENTS} clients of the controller are taken; close one first")
        if not 0 <= priority < PRIORITIES:
            raise DriverError(f"priority must be in 0..{PRIORITIES - 1}, not {priority}")
        if not 0 <= limit < 1 << 32:
            raise DriverError(f"limit must be in 0..{(1 << 32) - 1} cycles, not {limit}")
        size = min(self._memory.largest_free, (1 << 32) - ALIGNMENT) if memory_bytes is None else memory_bytes
        if size < RESERVED_BYTES + ALIGNMENT:
            raise DriverError(f"a client's window must have at least {RESERVED_BYTES + ALIGNMENT} bytes, not {size}")
        if size >= 1 << 32:
            raise DriverError(f"a client's window must be smaller than 4 GiB, not {size} bytes")
        index, base = free[0], self._memory.allocate(size)
        self.write_window(f"CLIENT{index}", base, size)
        self.write(f"CLIENT{index}_LIMIT", limit)
        self.write(f"CLIENT{index}_TAIL", 0)
        self.reset_clients(1 << index)
        self.write(f"CLIENT{index}_CONTROL", 1 | priority << 4)
        self._clients[index] = Client(self, index, base, size)
        return self._clients[index]

    def release(self, client: Client) -> None:
        """Take a client's window back; its jobs are aborted."""
        if self._clients.get(client.index) is client:
            self._disable(client.index)

    def _disable(self, index: int) -> None:
        self.write(f"CLIENT{index}_CONTROL", 0)
        self.write(f"CLIENT{index}_TAIL", 0)
        self.reset_clients(1 << index)
        client = self._clients.pop(index)
        client.released = True
        self._memory.release(client.base, client.size)

    def log(self) -> list[LogEvent]:
        """The events that the log still holds, oldest first."""
        count = self.read("LOG_COUNT")
        events = []
        for sequence in range(max(0, count - LOG_EVENTS), count):
            offset = sequence % LOG_EVENTS * EventRecord.size
            values = EventRecord.unpack(bytes(self.device.read_memory(self.base + offset, EventRecord.size)))
            if values["sequence"] == sequence and values["kind"] in set(EventKind):  # else memory has failed
                events.append(LogEvent(sequence, values["time"], EventKind(values["kind"]), values["client"],
                                       tuple(values[f"arg{i}"] for i in range(4))))
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
                              "open a new Controller to restart it")
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

    def _take_over(self) -> None:
        for index in range(CLIENTS):
            self.write(f"CLIENT{index}_CONTROL", 0)
            self.write(f"CLIENT{index}_TAIL", 0)
        self.reset_clients((1 << CLIENTS) - 1)

    def _boot(self, image: bytes | None, trusted: list | None) -> None:
        image, trusted = _default_image(self.device.config, image, trusted)
        verify_image(image, trusted)
        if IMAGE_OFFSET + len(image) > WINDOW_BYTES // 2:
            raise DriverError(f"a boot image must have at most {WINDOW_BYTES // 2 - IMAGE_OFFSET} bytes, "
                              f"not {len(image)}")
        self.write("START", 0)
        self.device.write_register(REGISTERS["CONTROL"].offset, ControlBit.RESET)
        for index in range(CLIENTS):
            self.write(f"CLIENT{index}_CONTROL", 0)
            self.write(f"CLIENT{index}_TAIL", 0)
        self.device.write_memory(self.base + IMAGE_OFFSET, image)
        self.write_window("CONTROLLER", self.base, WINDOW_BYTES)
        self.write("CLIENT_IRQ_ENABLE", STATUS_CHANGED)
        self.write("START", 1)
        self.device.wait_interrupt(BOOT_LIMIT)
        self.write("CLIENT_IRQ", STATUS_CHANGED)
        self.check_running()


def verify_image(image: bytes, trusted: list) -> None:
    """See `lepton.firmware.image.verify_image`; imported late, as only a boot needs cryptography."""
    from ..firmware import image as images

    images.verify_image(image, trusted)


def _default_image(config, image: bytes | None, trusted: list | None) -> tuple[bytes, list]:
    """What to boot and whom to trust where the caller does not say."""
    if image is not None and trusted is not None:
        return image, trusted
    from ..firmware import build, image as images  # noqa: I001

    key = images.development_key(Path(os.environ.get("LEPTON_BUILD") or build.sources().parent / "build") / "keys")
    return (images.build_image(config, key) if image is None else image,
            [key.public_key()] if trusted is None else trusted)
