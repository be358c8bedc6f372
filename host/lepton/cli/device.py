"""`lepton device`: boards: list the kinds, show one's chip, test one."""

import dataclasses
import json
from argparse import Namespace

import numpy as np
from rich.console import Console

from .. import device as devices
from ..arch import REGISTERS
from ..device import Device
from .console import columns, facts, grouped, make_console, progress
from .devices import opened
from .status import EXIT_DIFFERENT

PATTERN_BYTES = 64 << 10  # of memory that the self-test writes and reads: more than any burst or page
IMAGES = 8  # of the shipped network `digits`


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.action == "list":
        return _list(console, arguments.json)
    with opened(make_console(stderr=True) if arguments.json else console, arguments.name, arguments.config) as device:
        if arguments.action == "info":
            return _info(console, arguments, device)
        return _selftest(console, arguments.json, device)


def _list(console: Console, as_json: bool) -> int:
    found = {name: point.value for name, point in sorted(devices.backends().items())}
    if as_json:
        console.print_json(json.dumps(found))
        return 0
    table = columns("device", "opened by", left=2)
    for name, value in found.items():
        table.add_row(name, value)
    console.print(table)
    console.print("rtl: the simulated board; golden: the exact model, without cycles; serial:///dev/ttyUSB0: a board")
    return 0


def _info(console: Console, arguments: Namespace, device: Device) -> int:
    config = device.config
    values = {
        "device": arguments.name,
        "memory_bytes": device.memory_bytes,
        "id": device.read_register(REGISTERS["ID"].offset),
        "version": device.read_register(REGISTERS["VERSION"].offset),
        "config": dataclasses.asdict(config),
    }
    if arguments.json:
        console.print_json(json.dumps(values))
        return 0
    console.print(
        facts(
            [
                ("device", arguments.name),
                (
                    "chip",
                    f"{config.name}: {config.lanes}x{config.columns} int8 multipliers at an assumed "
                    f"{config.clock_mhz} MHz",
                ),
                (
                    "memories",
                    f"scratchpad {config.scratchpad_kib} KiB, weights {config.weight_kib} KiB, device memory "
                    f"{grouped(device.memory_bytes)} bytes",
                ),
                ("registers", f"ID {values['id']:#010x}, architecture version {values['version']}"),
            ]
        )
    )
    return 0


def _selftest(console: Console, as_json: bool, device: Device) -> int:
    """Memory keeps a pattern, and a shipped network gives its known outputs byte for byte."""
    from .. import models
    from ..compiler import compile_graph
    from ..runtime import Session

    pattern = np.random.default_rng(0).integers(0, 256, min(PATTERN_BYTES, device.memory_bytes), np.uint8)
    device.write_memory(0, pattern)
    wrong = int((device.read_memory(0, len(pattern)) != pattern).sum())
    model = models.load("digits")
    compiled = compile_graph(model.graph(), device.config)
    same = 0
    cycles = 0
    with Session(compiled, device) as session, progress(make_console(stderr=True)) as bar:
        task = bar.add_task("images", total=IMAGES, note="")
        for result, expected in zip(session.each(model.inputs[:IMAGES]), model.outputs, strict=False):
            same += int(np.array_equal(result.outputs[compiled.outputs[0].name][0], expected))
            cycles = result.report.cycles
            bar.advance(task)
    passed = not wrong and same == IMAGES
    if as_json:
        values = {
            "passed": passed,
            "bytes": len(pattern),
            "wrong_bytes": wrong,
            "images": IMAGES,
            "same": same,
            "cycles": cycles,
        }
        console.print_json(json.dumps(values))
        return 0 if passed else EXIT_DIFFERENT
    differ = f", {grouped(wrong)} differ" if wrong else ", all equal"
    counted = f", {grouped(cycles)} cycles each" if cycles else ""
    rows = [
        ("memory", f"{grouped(len(pattern))} bytes written and read{differ}"),
        ("network", f"digits: {same} of {IMAGES} outputs equal LiteRT's reference kernels byte for byte{counted}"),
        ("result", "passed" if passed else "FAILED: this board computes wrong results; see lepton log"),
    ]
    console.print(facts(rows))
    return 0 if passed else EXIT_DIFFERENT
