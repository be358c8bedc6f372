"""`lepton log`: shows the event log that the controller writes to memory."""

from argparse import Namespace
from pathlib import Path

from ..arch import PRESETS
from ..bench.measure import memory_bytes
from ..driver import BoardController, Driver
from ..runtime import Session
from .console import columns, grouped, make_console
from .devices import opened
from .profile import inputs_for, model_from
from .tables import chip_facts

SPARE_MEMORY = 1 << 20  # bytes for the clients' windows and rings


def run(arguments: Namespace) -> int:
    """Boot the controller, run the network through it if one is given, and show the log."""
    console = make_console()
    model = model_from(console, Path(arguments.network), arguments.config) if arguments.network else None
    config = (model.config if model else arguments.config or PRESETS["base"]).with_(controller=True)
    size = (memory_bytes(model) if model else 0) + SPARE_MEMORY
    console.print(chip_facts(config, "rtl"))
    with opened(console, "rtl", config, memory_bytes=size) as device, BoardController(device) as controller:
        if model:
            with Driver(device, controller.client()) as driver, Session(model, driver) as session:
                session.run(inputs_for(model, None))
        events = controller.log()
    table = columns("event", "cycle", "who", "what", "arguments", left=4)
    for event in events:
        table.add_row(str(event.sequence), grouped(event.time), event.who, event.kind.name, event.details)
    console.print(table)
    return 0
