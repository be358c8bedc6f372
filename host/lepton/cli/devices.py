"""Opens a device and shows progress: the simulated chip is built at the first use, which takes a minute or more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from .. import device as devices
from ..arch import ChipConfig
from .console import working


@contextmanager
def opened(console: Console, name: str, config: ChipConfig, **options: Any) -> Iterator[devices.Device]:
    """The device, closed at the end of the block. `options` are those of `lepton.device.open`."""
    with working(console, f"opening device {name}") as say:
        opening = True
        if name == "rtl":  # it also reports progress while it runs; commands show that in another way
            suggested = False

            def tell(text: str) -> None:
                nonlocal suggested
                if opening and not suggested:
                    suggested = True
                    console.print(f"note: the simulated chip {config.name!r} is built, once, which takes minutes; the "
                                  "golden model (--device golden of run, sim and eval) gives the same results without "
                                  "cycles and needs no build")
                if opening:
                    say(text)

            options["progress"] = tell
        device = devices.open(name, config=config, **options)
        opening = False
    try:
        yield device
    finally:
        device.close()
