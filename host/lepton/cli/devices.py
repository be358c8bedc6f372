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
        opening = True
        if name == "rtl":  # it also reports while it runs, where there is a bar already
            options["progress"] = lambda text: say(text) if opening else None
        device = devices.open(name, config=config, **options)
        opening = False
    try:
        yield device
    finally:
        device.close()
