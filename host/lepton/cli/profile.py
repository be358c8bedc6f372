"""`lepton profile`: runs one inference on the RTL and shows the cycles of each layer by cause."""

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from ..arch import PRESETS, ChipConfig
from ..arch.memory import DEFAULT, MEMORIES
from ..bench.board import as_board
from ..bench.bursts import spans
from ..bench.measure import memory_bytes
from ..bench.trace import chrome_trace
from ..compiler import compile_graph
from ..program import CompiledModel, TensorInfo
from ..runtime import Session
from ..runtime.costs import measured
from .console import calibrating, facts, grouped, make_console, percent, working
from .devices import opened
from .files import FileError, check_writable, is_network, read_inputs, write_text_atomically
from .host_work import host_work_table, operators, typical
from .tables import chip_facts, layer_table, network_facts

INPUT_SEED = 1


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.trace:
        check_writable(arguments.trace)
    model = model_from(console, Path(arguments.network), arguments.config, arguments.calibration, dict(arguments.shape),
                       (arguments.input_type, arguments.output_type), dict(arguments.state),
                       arguments.memory)
    inputs = inputs_for(model, arguments.input)
    console.print(chip_facts(model.config, "rtl"))
    console.print(network_facts(model))
    with opened(console, "rtl", model.config, memory=arguments.memory, memory_bytes=memory_bytes(model)) as device, \
            Session(model, device) as session, working(console, "running") as say:
        def progress(step: str, cycles: int) -> None:
            if console.is_terminal:
                say(f"{step}, {grouped(cycles)} cycles")

        board = as_board(device)
        alone = measured(model)  # before the inference: the host's first run of each step includes initialization
        board.record()
        report = session.run(inputs, progress=progress).report
        bursts = spans(session, report, board.events) if arguments.trace else []
    console.print()
    console.print(layer_table(report))
    host = typical([report], alone)
    lines = report.facts(host)
    if operators(host):
        console.print()
        console.print(host_work_table(host))
        console.print()
    lines.append(("computing", f"{percent(report.causes['COMPUTE'] / report.cycles)} % of the cycles"))
    bus = report.config.bus_bytes
    lines.append(("traffic", ", ".join(f"{what} {grouped(report.counters[counter] * bus)} bytes "
                                       f"({report.counters[counter] * bus / report.cycles:.2f} a cycle)"
                                       for what, counter in (("read", "READ_BEATS"), ("written", "WRITE_BEATS")))))
    if arguments.trace:
        write_text_atomically(arguments.trace, json.dumps(chrome_trace(report, model.name, bursts)))
        lines.append(("timeline", f"{arguments.trace}; open it at ui.perfetto.dev"))
    console.print(facts(lines))
    return 0


def model_from(console: Console, path: Path, config: ChipConfig | None, calibration: str | None = None,
               shapes: Mapping[str, tuple[int, ...]] | None = None,
               types: tuple[str | None, str | None] = (None, None),
               states: Mapping[str, str] | None = None, memory: str = DEFAULT.name) -> CompiledModel:
    """A compiled model, or a network compiled for `config` (`base` if None).

    `types`: of inputs and outputs. `states`: as for `lepton.frontends.load`. `memory`: the profile for which
    a network's cycles are predicted.
    """
    if is_network(path):
        from ..frontends import load
        chip = config or PRESETS["base"]
        with working(console, f"compiling {path} for {chip.name}") as say:
            graph = load(path, calibration, calibrating(say), shapes, states)
            return compile_graph(graph, chip, input_type=types[0], output_type=types[1], memory=MEMORIES[memory])
    if calibration or shapes or states or any(types):
        raise FileError(f"{path}: is compiled already; --calibration, --shape, --state, --input-type and --output-type "
                        "are for networks' own files")
    model = CompiledModel.load(path)
    if config and config.hash != model.config_hash:
        raise FileError(f"{path}: is compiled for configuration {model.config.name!r}, not {config.name!r}; "
                        "leave out --config, or give the original network")
    # The same chip, of which the file may state another clock.
    return replace(model, config=config) if config else model


def inputs_for(model: CompiledModel, path: str | None) -> dict[str, np.ndarray]:
    """The first input of a file, or random values: the cycles do not depend on them."""
    if path:
        return read_inputs(path, model.inputs)[0]
    random = np.random.default_rng(INPUT_SEED)
    return {info.name: _random_values(random, info) for info in model.inputs}


def _random_values(random: np.random.Generator, info: TensorInfo) -> np.ndarray:
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return random.normal(0, 1, info.shape).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind != "b":
        return random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, info.shape, dtype)
    return np.zeros(info.shape, dtype)  # indices and conditions, for which other values may be out of range
