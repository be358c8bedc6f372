"""The controller as the host sees it: booting it, giving clients their windows, reading its event log."""

from typing import TYPE_CHECKING

from ..arch import ChipConfig
from ..arch.controller import CLIENTS, IMAGE_OFFSET, PRIORITIES, BootState
from ..arch.registers import REGISTERS
from ..arch.registers import Control as ControlBit
from ..device import Device
from .claims import Claim
from .controller_registers import STATUS_CHANGED, ControllerRegisters
from .errors import DriverError
from .memory import ALIGNMENT, Allocator
from .recovery import settle_memory
from .rings import RESERVED_BYTES, Client

if TYPE_CHECKING:  # only a boot needs cryptography
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Of the controller: the log, then the image, which ends in the first half.
WINDOW_BYTES = 1 << 17
BOOT_LIMIT = 2_000_000  # cycles; the largest preset needs a fifth


class BoardController(ControllerRegisters):
    """The controller of a board, serving jobs.

        with BoardController(device) as controller, Driver(device, controller.client()) as driver:
            driver.run(job)

    Boots it with `image` (default: the firmware of this source tree, signed with the checkout's own key) after
    checking that one of the `trusted` Ed25519 public keys has signed it. One that serves already is taken over as
    it is: whatever an earlier host left behind is forgotten. Raises `DriverError`, also while another open
    `BoardController` or a `Driver` without a client uses the device, or `ImageError`.
    """

    def __init__(self, device: Device, image: bytes | None = None,
                 trusted: "list[Ed25519PublicKey] | None" = None):
        if not device.config.controller:
            raise DriverError(f"configuration {device.config.name!r} has no controller; open the device with "
                              "config.with_(controller=True), or use a Driver without a client")
        super().__init__(device, (device.memory_bytes - WINDOW_BYTES) // ALIGNMENT * ALIGNMENT)
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

    def __enter__(self) -> "BoardController":
        return self

    def __exit__(self, *exc: object) -> None:
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
        index = free[0]
        base = self._memory.allocate(size)
        self.write_window(f"CLIENT{index}", base, size)
        self.write(f"CLIENT{index}_LIMIT", limit)
        self.write(f"CLIENT{index}_TAIL", 0)
        self.reset_clients(1 << index)
        self.write(f"CLIENT{index}_CONTROL", 1 | priority << 4)
        self._clients[index] = Client(self, index, base, size, self.release)
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

    def _take_over(self) -> None:
        for index in range(CLIENTS):
            self.write(f"CLIENT{index}_CONTROL", 0)
            self.write(f"CLIENT{index}_TAIL", 0)
        self.reset_clients((1 << CLIENTS) - 1)

    def _boot(self, image: bytes | None, trusted: "list[Ed25519PublicKey] | None") -> None:
        image, trusted = _default_image(self.device.config, image, trusted)
        verify_image(image, trusted)
        if IMAGE_OFFSET + len(image) > WINDOW_BYTES // 2:
            raise DriverError(f"a boot image must have at most {WINDOW_BYTES // 2 - IMAGE_OFFSET} bytes, "
                              f"not {len(image)}")
        self.write("START", 0)
        # An earlier controller may have left a job running and copies on the bus.
        self.device.write_register(REGISTERS["CONTROL"].offset, ControlBit.RESET)
        settle_memory(self.device)
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


def verify_image(image: bytes, trusted: "list[Ed25519PublicKey]") -> None:
    """See `lepton.firmware.image.verify_image`; imported late, as only a boot needs cryptography."""
    from ..firmware import image as images

    images.verify_image(image, trusted)


def _default_image(config: ChipConfig, image: bytes | None,
                   trusted: "list[Ed25519PublicKey] | None") -> "tuple[bytes, list[Ed25519PublicKey]]":
    """The image to boot and the public keys to trust, with defaults for what the caller leaves out."""
    if image is not None and trusted is not None:
        return image, trusted
    from ..firmware import build, image as images  # noqa: I001

    key = images.development_key(build.build_root() / "keys")
    return (images.build_image(config, key) if image is None else image,
            [key.public_key()] if trusted is None else trusted)
