"""`lepton models`: the networks that ship with Lepton."""

from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from .. import models
from ..evaluation import Accuracy
from ..models import LeptonModel
from ..runtime import Session
from .console import columns, facts, grouped, make_console, percent, progress, scaled, working
from .devices import opened
from .files import FileError, write_atomically
from .status import EXIT_DIFFERENT


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.action == "list":
        return _list(console)
    if arguments.name not in models.NAMES:
        raise FileError(f"the network must be one of {', '.join(models.NAMES)}, not {arguments.name!r}; a file of your "
                        "own goes to lepton compile")
    model = models.load(arguments.name)
    if arguments.action == "info":
        console.print(model.card)
        return 0
    if arguments.action == "get":
        target = Path(arguments.output or f"{model.name}.tflite")
        data = model.path.read_bytes()
        write_atomically(target, lambda path: _write(path, data))
        console.print(f"written {target}, {grouped(len(data))} bytes; next: lepton compile {target}")
        return 0
    return _run(console, model, arguments)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _list(console: Console) -> int:
    table = columns("network", "input", "MACs", "bytes", "samples", "correct %", left=2)
    for name in models.NAMES:
        model = models.load(name)
        graph = model.graph()
        macs = sum(node.op.macs(graph.signature(node)) for node in graph.nodes)
        table.add_row(name, "x".join(map(str, model.inputs.shape[1:])), scaled(macs),
                      grouped(model.path.stat().st_size), str(len(model.labels)),
                      percent(model.accuracy(model.outputs)))
    console.print(table)
    console.print("correct: of the samples that ship, by LiteRT's reference kernels; lepton models info NAME has more")
    return 0


def _run(console: Console, model: LeptonModel, arguments: Namespace) -> int:
    from ..compiler import compile_graph

    with working(console, f"compiling {model.name} for {arguments.config.name}"):
        compiled = compile_graph(model.graph(), arguments.config)
    count = min(arguments.images, len(model.labels))
    with opened(console, arguments.device, compiled.config) as device, Session(compiled, device) as session, \
            progress(console) as bar:
        task = bar.add_task("samples", total=count, note="")
        results = []
        for result in session.each(model.inputs[:count]):
            results.append(result)
            bar.advance(task)
    made = np.concatenate([result.outputs[compiled.outputs[0].name] for result in results])
    accuracy = Accuracy(model.name, made.argmax(1), model.labels[:count])
    identical = int((made == model.outputs[:count]).all(1).sum())
    lines = [("accuracy", f"{percent(accuracy.share)} % ({accuracy.correct} of {count} samples)"),
             ("identical", f"{identical} of {count} outputs to LiteRT's reference kernels, byte for byte")]
    console.print(facts(lines + results[0].report.facts()))
    return 0 if identical == count else EXIT_DIFFERENT
