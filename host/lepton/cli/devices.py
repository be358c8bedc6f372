"""Opening a device while saying what takes so long: the first time, a chip has to be built."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from .. import device as devices
from ..arch import ChipConfig
from .console import working


@contextmanager
def opened(console: Console, name: str, config: ChipConfig, **options) -> Iterator[devices.Device]:
    """The device, closed in the end. `options` go to the backend."""
    with working(console, f"opening device {name}") as say:
        if name == "rtl":
            options["progress"] = say
        device = devices.open(name, config=config, **options)
    try:
        yield device
    finally:
        device.close()
