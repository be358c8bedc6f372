"""`LeptonChip`: a board, opened when something first runs on it."""

import os
from typing import Any

from .. import device as devices
from ..arch import PRESETS, ChipConfig, ConfigError
from ..deployment import CONFIG, DEVICE
from ..device import Device


class LeptonChip:
    """A chip on a board: by default the simulated board (`$LEPTON_DEVICE` names another) with the configuration `base`
    (`$LEPTON_CONFIG`).

    device: the name of a backend ("rtl", "golden"), a URL ("serial:///dev/ttyUSB0"), or an open `Device`, which stays
    open. config: a preset's name or a `ChipConfig`. options: those of the backend. Raises `ConfigError` for an unknown
    preset; `DeviceError` when the board is first used and cannot be opened.
    """

    def __init__(self, device: str | Device | None = None, config: str | ChipConfig | None = None,
                 **options: Any) -> None:
        self._target = device if device is not None else os.environ.get(DEVICE) or "rtl"
        self._options = options
        self._opened: Device | None = None
        if not isinstance(self._target, str):
            self.config = self._target.config
        else:
            chosen = config if config is not None else os.environ.get(CONFIG) or "base"
            if isinstance(chosen, str) and chosen not in PRESETS:
                raise ConfigError(f"config must be one of {', '.join(PRESETS)} or a ChipConfig, not {chosen!r}")
            self.config = PRESETS[chosen] if isinstance(chosen, str) else chosen

    @property
    def name(self) -> str:
        """The backend's name or URL, or the class of a device that was given."""
        return self._target if isinstance(self._target, str) else type(self._target).__name__

    @property
    def device(self) -> Device:
        """The open board."""
        if not isinstance(self._target, str):
            return self._target
        if self._opened is None:
            self._opened = devices.open(self._target, config=self.config, **self._options)
        return self._opened

    def __enter__(self) -> "LeptonChip":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the board if this object has opened it; it is opened again when it is used again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __str__(self) -> str:
        config = self.config
        return (f"{config.name}: {config.lanes}x{config.columns} int8 multipliers at {config.clock}, on "
                f"device {self.name!r}")
