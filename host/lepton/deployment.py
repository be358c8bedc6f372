"""A compiled network on a device that is opened for it: what the interfaces like other frameworks' run on."""

import os
import weakref
from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np

from . import device as devices
from .arch import ChipConfig
from .device import Device
from .program import CompiledModel
from .runtime import Result, Session

DEVICE = "LEPTON_DEVICE"  # environment: the device where a script names none
CONFIG = "LEPTON_CONFIG"  # environment: the chip's configuration, likewise
SPARE_BYTES = 1 << 20  # of device memory besides the network's own: alignment of its buffers and the driver's rings
USUAL_BYTES = 256 << 20  # of memory that simulated boards have where nothing else is said


def chosen_device(device: str | Device | None) -> str | Device:
    """The device that is meant: the argument, $LEPTON_DEVICE, or the golden model, which needs no build."""
    return device if device is not None else os.environ.get(DEVICE) or "golden"


def chosen_config(config: str | ChipConfig | None, device: str | Device | None) -> str | ChipConfig:
    """The chip that is meant: the argument, that of an open device, $LEPTON_CONFIG, or `base`."""
    if config is not None:
        return config
    if device is not None and not isinstance(device, str):
        return device.config
    return os.environ.get(CONFIG) or "base"


class Deployment:
    """A network, ready to run. A device that is given stays open; one that is named is closed with the deployment."""

    def __init__(self, model: CompiledModel, device: str | Device | None = None) -> None:
        self.model = model
        stack = ExitStack()
        target = chosen_device(device)
        if isinstance(target, str):
            size = sum(buffer.size for buffer in model.buffers) + SPARE_BYTES
            options = {"memory_bytes": 1 << (size - 1).bit_length()} if size > USUAL_BYTES else {}
            target = stack.enter_context(devices.open(target, config=model.config, **options))
        try:
            self.session = stack.enter_context(Session(model, target))
        except BaseException:
            stack.close()
            raise
        self.device = target
        self._close = weakref.finalize(self, stack.close)

    def __enter__(self) -> "Deployment":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device."""
        self._close()

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> Result:
        """As `Session.run`."""
        return self.session.run(inputs)

