"""Measures what `test_cycles.py` holds the chip to, and records it: `python -m tests.system.measure`.

Everything runs on a fresh board of `base` with the default memory profile (design D8), so the
figures are the same on every machine and in every run.
"""

import json
from pathlib import Path

import lepton.device
import lepton.models
import numpy as np
from lepton.compiler import compile_graph
from lepton.runtime import Session

HERE = Path(__file__).parent
RECORD = HERE / "cycles.json"
COMMAND = "python -m tests.system.measure"
CONFIG = "base"
LAYERS = {  # name: input shape, output channels, kernel, padding
    "conv 3x3 16x16x64 -> 64": ((1, 16, 16, 64), 64, (3, 3), ((1, 1), (1, 1))),
    "conv 1x1 14x14x128 -> 128": ((1, 14, 14, 128), 128, (1, 1), ((0, 0), (0, 0))),
}


def run_once(graph, inputs):
    """(report, bursts and beats that memory has seen) of one inference on a fresh board."""
    with lepton.device.open("rtl", config=CONFIG, memory_bytes=1 << 24) as board, \
            Session(compile_graph(graph, CONFIG), board) as session:
        return session.run(inputs).report, board.traffic


def network():
    """The shipped network on its first image."""
    model = lepton.models.load("mnist")
    return run_once(model.graph(), model.inputs[:1])


def layer(name):
    """One of LAYERS as a network of its own, input from memory and output to memory included."""
    from tests.host.compiler.compiler_graphs import Builder, random_inputs
    shape, channels, kernel, padding = LAYERS[name]
    builder = Builder(shape, seed=1)
    builder.conv("image", channels, kernel, padding=padding)
    graph = builder.done()
    return run_once(graph, random_inputs(graph, 1))


def macs(name):
    (_, height, width, inputs), outputs, kernel, _ = LAYERS[name]
    return int(np.prod((height, width, inputs, outputs, *kernel)))


def measured():
    """What cycles.json holds."""
    report, _ = network()
    return {
        "network": {"counters": dict(report.counters), "layers": {row.name: row.cycles for row in report.rows}},
        "layers": {name: layer(name)[0].cycles for name in LAYERS},
    }


if __name__ == "__main__":
    RECORD.write_text(json.dumps(measured(), indent=2) + "\n", encoding="utf-8")
    print(RECORD.read_text(encoding="utf-8"), end="")
