"""`lepton eval`: accuracy of a network in float, in int8 and on the chip, the confusion matrix, and noise by layer."""

import json
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np

from ..arch import PRESETS
from ..evaluation import evaluate
from ..evaluation.evaluate import load_array
from ..graph import Graph
from ..program import CompiledModel
from .console import calibrating, make_console, progress, working
from .devices import opened
from .files import FileError, is_network


def run(arguments: Namespace) -> int:
    console = make_console(stderr=arguments.json)
    path = Path(arguments.network)
    graph: Graph | None = None
    if is_network(path):
        from ..compiler import compile_graph
        from ..frontends import load
        chip = arguments.config or PRESETS["base"]
        with working(console, f"compiling {path} for {chip.name}") as say:
            graph = load(path, arguments.calibration, calibrating(say), dict(arguments.shape), dict(arguments.state))
            model = compile_graph(graph, chip)
    else:
        model = CompiledModel.load(path)
        if arguments.calibration or arguments.shape or arguments.state or arguments.config:
            raise FileError(f"{path}: is compiled already; --calibration, --shape, --state and --config are for "
                            "networks' own files")
    arrays = {}
    for what, name in (("--input", arguments.input), ("--labels", arguments.labels)):
        try:
            arrays[what] = load_array(name)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(f"{name}: {what} must be a .npy file with one array ({error})") from error
    with opened(console, arguments.device, model.config) as device, progress(console) as bar:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, note="")
                if not console.is_terminal:
                    console.print(f"running {total} inputs: {what}")
            bar.update(tasks[what], completed=done)

        found = evaluate(model, device, np.asarray(arrays["--input"]), arrays["--labels"], graph=graph,
                         source=path if graph is not None else None, shapes=dict(arguments.shape),
                         states=dict(arguments.state), device_name=arguments.device, progress=report)
    if arguments.json:
        print(json.dumps(found.to_json()))
    else:
        console.print()
        console.print(str(found), soft_wrap=True)
    return 0
