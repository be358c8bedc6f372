"""A board behind a serial port, as a `Device`."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import numpy as np

from ..arch import PRESETS, ChipConfig
from ..arch.serial import MAGIC, MAX_DATA, VERSION, RequestKind
from ..device import DeviceError
from .link import LineRequest, Link, SerialPort

DEFAULT_BAUD = 3_000_000  # the fastest of the FT231X on ULX3S
_POLL_SECONDS = 0.01  # how long a read of the port may wait for its first byte
_WAIT_SECONDS = 0.25  # of one WAIT, so that Ctrl-C works
_ABOUT = struct.Struct("<4sIII")


class SerialDevice:
    """A board whose frames travel over `port`; implements `lepton.device.Device`. One thread at a time.

    `clock_hz` and `memory_bytes` are what the board says of itself. Raises `DeviceError` where no board of this
    protocol's version answers.
    """

    def __init__(self, port: SerialPort, config: ChipConfig, name: str = "a serial port", silence: float = 1.0,
                 clock: Callable[[], float] = time.monotonic):
        self.config = config
        self._port: SerialPort | None = port
        self.link = Link(port, name, silence, clock)
        about = self.link.ask(LineRequest(RequestKind.IDENTIFY))
        if len(about) != _ABOUT.size or not about.startswith(MAGIC):
            raise DeviceError(f"what answers on {name} is not a Lepton board")
        _, version, self.clock_hz, self.memory_bytes = _ABOUT.unpack(about)
        if version != VERSION:
            raise DeviceError(f"the board on {name} speaks version {version} of the serial protocol, this program "
                              f"version {VERSION}; load a bitstream of the same release")

    def read_register(self, offset: int) -> int:
        """Value of a 32-bit register. Raises `DeviceError` where the chip answers SLVERR."""
        return int.from_bytes(self._ask(LineRequest(RequestKind.READ_REGISTER, offset, 4)), "little")

    def write_register(self, offset: int, value: int) -> None:
        """Write a 32-bit register. Raises `DeviceError` where the chip answers SLVERR."""
        if not 0 <= value < 1 << 32:
            raise DeviceError(f"a register value must fit in 32 bits, not {value:#x}")
        self._ask(LineRequest(RequestKind.WRITE_REGISTER, offset, 4, value.to_bytes(4, "little")))

    def read_memory(self, address: int, size: int) -> np.ndarray:
        """A copy of `size` bytes, shape (size,), dtype uint8."""
        self._check(address, size)
        parts = self._opened().ask_all(LineRequest(RequestKind.READ_MEMORY, address + at, min(MAX_DATA, size - at))
                                       for at in range(0, size, MAX_DATA))
        return np.frombuffer(b"".join(parts), np.uint8).copy()

    def write_memory(self, address: int, data) -> None:
        """Write a bytes-like object or a contiguous array."""
        content = bytes(memoryview(data).cast("B"))
        self._check(address, len(content))
        pieces = (content[at:at + MAX_DATA] for at in range(0, len(content), MAX_DATA))
        self._opened().ask_all(LineRequest(RequestKind.WRITE_MEMORY, address + MAX_DATA * n, len(piece), piece)
                               for n, piece in enumerate(pieces))

    def wait_interrupt(self, max_cycles: int) -> bool:
        """Whether the interrupt is high within `max_cycles` of the board's clock."""
        longest = max(1, int(self.clock_hz * _WAIT_SECONDS))
        left = max_cycles
        while True:
            cycles = min(left, longest)
            if self._opened().ask(LineRequest(RequestKind.WAIT, cycles), patience=cycles / self.clock_hz)[0]:
                return True
            left -= cycles
            if left <= 0:
                return False

    def close(self) -> None:
        """Close the port. Further use raises `DeviceError`."""
        close = getattr(self._port, "close", None)
        self._port = None
        if close is not None:
            close()

    def __enter__(self) -> SerialDevice:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _opened(self) -> Link:
        if self._port is None:
            raise DeviceError("the board is closed")
        return self.link

    def _ask(self, request: LineRequest) -> bytes:
        return self._opened().ask(request)

    def _check(self, address: int, size: int) -> None:
        if not 0 <= address <= address + size <= self.memory_bytes:
            raise DeviceError(f"bytes {address:#x} to {address + size:#x} are not in the board's memory of "
                              f"{self.memory_bytes} bytes")


def open_serial(config: str | ChipConfig, url: str = "", baud: int = DEFAULT_BAUD,
                silence: float = 1.0) -> SerialDevice:
    """The board on the port of a URL: `serial:///dev/ttyUSB0`, or with `?baud=1000000`.

    `silence`: seconds after which requests are sent again. Raises `DeviceError` where the port cannot be opened or no
    board answers.
    """
    try:
        import serial
    except ImportError as error:
        raise DeviceError("a board on a serial port needs pyserial; install it with "
                          "pip install 'lepton-chip[serial]'") from error
    parts = urlsplit(url)
    path = parts.netloc + parts.path
    if parts.scheme != "serial" or not path:
        raise DeviceError(f"the URL of a serial port is like serial:///dev/ttyUSB0, not {url!r}")
    options = parse_qs(parts.query)
    if unknown := set(options) - {"baud"}:
        raise DeviceError(f"the URL of a serial port has no option {sorted(unknown)[0]!r}; it has baud")
    if "baud" in options:
        if not options["baud"][-1].isdecimal():
            raise DeviceError(f"baud must be a number, not {options['baud'][-1]!r}")
        baud = int(options["baud"][-1])
    if isinstance(config, str):
        if config not in PRESETS:
            raise DeviceError(f"config must be one of {', '.join(PRESETS)}, not {config!r}")
        config = PRESETS[config]
    try:
        port = serial.Serial(path, baud, timeout=_POLL_SECONDS)
    except (OSError, ValueError) as error:
        raise DeviceError(f"{path} cannot be opened: {error}") from error
    port.reset_input_buffer()
    try:
        return SerialDevice(port, config, path, silence)
    except BaseException:
        port.close()
        raise
