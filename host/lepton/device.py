"""`Device`: the interface between the driver and a board, simulated or real (design D8).

A backend is found by name through the entry-point group `lepton.devices`, so
that this package never imports the simulator:

    with lepton.device.open("rtl", config="base") as device: ...
"""

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, Self

import numpy as np

from .arch import ChipConfig


class DeviceError(RuntimeError):
    """The board cannot be opened or reached, or was asked for something it does not have."""


class Device(Protocol):
    """A board: one chip and its memory. Addresses are bytes from the start of memory."""

    config: ChipConfig
    memory_bytes: int

    def read_register(self, offset: int) -> int:
        """Value of a 32-bit register. Raises `DeviceError` where the chip answers SLVERR."""

    def write_register(self, offset: int, value: int) -> None:
        """Write a 32-bit register. Raises `DeviceError` where the chip answers SLVERR."""

    def read_memory(self, address: int, size: int) -> np.ndarray:
        """A copy of `size` bytes, shape (size,), dtype uint8."""

    def write_memory(self, address: int, data: bytes | bytearray | memoryview | np.ndarray) -> None:
        """Write a bytes-like object or a contiguous array."""

    def wait_interrupt(self, max_cycles: int) -> bool:
        """Let the board run until its interrupt line is high; False if it was not within `max_cycles`."""

    def close(self) -> None:
        """Give the board back. Further use raises `DeviceError`."""

    def __enter__(self) -> Self:
        """The device itself; leaving the `with` block closes it."""

    def __exit__(self, *exc: object) -> None:
        """Close the device."""


def backends() -> dict[str, EntryPoint]:
    """Entry points of the installed backends by name."""
    return {e.name: e for e in entry_points(group="lepton.devices")}


def open(name: str = "rtl", config: str | ChipConfig = "base", **options: Any) -> Device:
    """Open a board by backend name ("rtl", "golden", ...) or URL ("serial:///dev/ttyUSB0"), whose scheme is the name.

    `options` go to the backend (memory profile, waves, ...). Raises `DeviceError`
    for an unknown backend, one whose extra is not installed, and options that the backend does not have.
    """
    if "://" in name:
        options["url"] = name
        name = name.partition(":")[0]
    found = backends()
    if name not in found:
        raise DeviceError(f"device must be one of {', '.join(sorted(found)) or 'none installed'}, not {name!r}; "
                          "install the simulator with pip install 'lepton-chip[sim]'")
    try:
        factory = found[name].load()
    except ImportError as error:
        raise DeviceError(f"device {name!r} needs a package that is not installed ({error.name}); "
                          "install it with pip install 'lepton-chip[sim]'") from error
    known = inspect.signature(factory).parameters
    if unknown := [option for option in options if option not in known]:
        raise DeviceError(f"device {name!r} has no option {unknown[0]!r}; it has "
                          f"{', '.join(option for option in known if option != 'config')}")
    return factory(config, **options)
