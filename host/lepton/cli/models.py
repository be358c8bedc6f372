"""`lepton models`: the networks that ship with Lepton."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
from rich.console import Console

from .. import models
from ..models import Card, LeptonModel
from ..runtime import Session
from .console import columns, facts, grouped, make_console, percent, progress, scaled, working
from .devices import opened
from .files import FileError, write_atomically
from .status import EXIT_DIFFERENT


def run(arguments: Namespace) -> int:
    console = make_console()
    if arguments.action == "list":
        return _list(console, arguments.json)
    if arguments.name not in models.NAMES:
        raise FileError(
            f"the network must be one of {', '.join(models.NAMES)}, not {arguments.name!r}; a file of your "
            "own goes to lepton compile"
        )
    model = models.load(arguments.name)
    if arguments.action == "info":
        console.print_json(json.dumps(model.facts.as_dict())) if arguments.json else console.print(
            model.card, markup=False
        )
        return 0
    if arguments.action == "get":
        target = Path(arguments.output or model.path.name)
        data = model.path.read_bytes()
        write_atomically(target, lambda path: _write(path, data))
        console.print(f"written {target}, {grouped(len(data))} bytes; next: lepton compile {target}")
        return 0
    return _run(console, model, arguments)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _list(console: Console, as_json: bool) -> int:
    cards = models.cards()
    if as_json:
        console.print_json(json.dumps([card.as_dict() for card in cards.values()]))
        return 0
    table = columns("network", "field", "task", "MACs", "bytes", "cycles", "int8", left=3)
    for card in cards.values():
        table.add_row(
            card.name,
            card.field,
            card.task.partition(":")[0],
            scaled(card.macs),
            grouped(card.path.stat().st_size),
            grouped(card.cycles["base"]),
            _figure(card, card.int8_value),
        )
    console.print(table)
    console.print("cycles: predicted on base; int8: accuracy in %, or what lepton models info NAME says")
    return 0


def _figure(card: Card, value: float) -> str:
    return percent(value) if card.metric == "accuracy" else f"{value:.2f}"


def _run(console: Console, model: LeptonModel, arguments: Namespace) -> int:
    from ..compiler import compile_graph

    with working(console, f"compiling {model.name} for {arguments.config.name}"):
        compiled = compile_graph(model.graph(), arguments.config)
    count = min(arguments.images, len(model.inputs))
    with (
        opened(console, arguments.device, compiled.config) as device,
        Session(compiled, device) as session,
        progress(console) as bar,
    ):
        task = bar.add_task("samples", total=count, note="")
        results = []
        for result in session.each(model.inputs[:count]):
            results.append(result)
            bar.advance(task)
    name = compiled.outputs[0].name
    made = np.stack([result.outputs[name].reshape(model.outputs.shape[1:]) for result in results])
    identical = int((made == model.outputs[:count]).reshape(count, -1).all(1).sum())
    reference = model.facts.reference.partition(";")[0]
    lines = [
        *_score(model, made, count),
        ("identical", f"{identical} of {count} outputs to {reference}, byte for byte"),
    ]
    console.print(facts(lines + results[0].report.facts()))
    return 0 if identical == count else EXIT_DIFFERENT


def _score(model: LeptonModel, made: np.ndarray, count: int) -> list[tuple[str, str]]:
    """The card's metric for the samples that ran, where there are labels of both kinds."""
    labels = model.labels[:count]
    metric = model.facts.metric
    if not len(labels) or (metric.startswith("area") and len(np.unique(labels)) < 2):
        return []
    value = models.METRICS[metric](model.inputs[:count], made, labels)
    if metric == "accuracy":
        return [(metric, f"{percent(value)} % ({round(value * count)} of {count} samples)")]
    return [(metric, f"{value:.3f} of {count} samples")]
