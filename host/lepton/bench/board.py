"""The interface of boards that can be measured: they count cycles and record the bursts on the memory port."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from .. import device as devices
from ..arch import ChipConfig
from ..device import Device, DeviceError

# The field `kind` of events (sim/lepton_sim/harness/recorder.h).
READ = 0
WRITE = 1
REGISTER = 2


@runtime_checkable
class Board(Device, Protocol):
    """A `Device` whose cycles and bursts can be observed."""

    @property
    def cycles(self) -> int:
        """Cycles since the board was opened."""

    @property
    def simulated_hz(self) -> float:
        """Simulated cycles per second of processor time."""

    @property
    def events(self) -> np.ndarray:
        """Bursts and register writes since `record`: records with the fields kind, first, last, address and beats."""

    def record(self, on: bool = True) -> None:
        """Discard recorded events, and record from now on, or stop."""

    def run(self, cycles: int) -> None:
        """Let `cycles` cycles pass."""


def open_board(config: str | ChipConfig, **options: Any) -> Board:
    """The device "rtl" (see `lepton.device.open`). Raises `DeviceError`."""
    return as_board(devices.open("rtl", config=config, **options))


def as_board(device: Device) -> Board:
    """`device` itself. Raises `DeviceError`, and closes it, if it cannot be measured."""
    if not isinstance(device, Board):
        device.close()
        raise DeviceError(f"a {type(device).__name__} counts no cycles and records no bursts; use the device 'rtl'")
    return device
