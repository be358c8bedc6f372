"""Accuracy of a network's file in float, in int8 and on a device, and its noise by layer."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike

import numpy as np

from ..array_files import load_arrays
from ..device import Device
from ..graph import Graph
from ..graph.interpret import sequence
from ..program import CompiledModel
from ..runtime import Session
from ..runtime.batches import single_inputs
from ..text import table
from .accuracy import Accuracy, checked_labels, classes_of
from .noise import ValueNoise, layer_noise
from .reference import Reference, ReferenceMissing, open_reference

NOISE_INPUTS = 16  # inputs for the noise by layer: with more of them, power sums over all pixels hardly change
Progress = Callable[[str, int, int], None]


@dataclass(eq=False)
class Evaluation:
    """`accuracies`: float and int8 as far as they are known, then the device. `print` shows tables."""

    accuracies: list[Accuracy] = field(default_factory=list)
    noise: list[ValueNoise] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def on_device(self) -> Accuracy:
        return self.accuracies[-1]

    def __str__(self) -> str:
        rows = [[a.name, f"{100 * a.share:.2f}", f"{a.correct} of {len(a.labels)}"] for a in self.accuracies]
        parts = [table(("computed by", "accuracy %", "correct"), rows)]
        matrix = self.on_device.confusion
        parts.append(f"confusion of the {self.on_device.name}: labels in rows, predictions in columns\n" + table(
            ("", *map(str, range(len(matrix)))), [[str(i), *map(str, row)] for i, row in enumerate(matrix)]))
        if self.noise:
            rows = [[n.name, n.operator, f"{n.decibels:.1f}"] for n in self.noise]
            parts.append("signal-to-noise of int8 against float\n" + table(("value", "operator", "dB"), rows, 2))
        return "\n\n".join([*parts, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        noise = [{"value": n.name, "operator": n.operator, "db": n.decibels if math.isfinite(n.decibels) else None}
                 for n in self.noise]
        return {"accuracy": {a.name: a.share for a in self.accuracies}, "inputs": len(self.on_device.labels),
                "confusion": self.on_device.confusion.tolist(), "notes": self.notes, "noise_db": noise}


def evaluate(model: CompiledModel, device: Device, inputs: np.ndarray | Mapping[str, np.ndarray], labels: np.ndarray, *,
             graph: Graph | None = None, source: str | PathLike | None = None,
             shapes: Mapping[str, tuple[int, ...]] | None = None, states: Mapping[str, str] | None = None,
             device_name: str = "device", progress: Progress | None = None) -> Evaluation:
    """Runs labelled inputs in every way that there is.

    inputs: as for `Session.predict`; for a network with state, one stream from its initial state on.
    labels: whole numbers (N,), compared with the largest value of the first output.
    graph: the quantized network, for int8 on the CPU and the noise. source: the network's file, for its framework.
    shapes, states: as for `lepton.frontends.load`.
    progress: called with what runs, and the number of inputs done and of all.
    Raises `GraphError` for labels that do not fit, and what `Session.run` raises.
    """
    with Session(model, device) as session:
        feeds = [session.checked(feed) for feed in single_inputs(inputs, model.inputs)]
        wanted = checked_labels(labels, len(feeds))
        opened = None if source is None else partial(open_reference, source, shapes, states)
        return _evaluated(session, feeds, wanted, graph, opened, device_name, progress)


def _evaluated(session: Session, feeds: list[dict[str, np.ndarray]], wanted: np.ndarray, graph: Graph | None,
               opened: Callable[[], Reference] | None, device_name: str, progress: Progress | None) -> Evaluation:
    found = Evaluation()

    def outputs(name: str, results: Iterable[np.ndarray]) -> np.ndarray:
        made = []
        for value in results:
            made.append(value)
            if progress is not None:
                progress(name, len(made), len(feeds))
        return np.concatenate([value.reshape(1, -1) for value in made])

    is_float = graph is not None and any(node.op.quantizes for node in graph.nodes)
    if opened is not None:
        try:
            reference = opened()
            name = f"float, {reference.framework}" if is_float else reference.framework
            made = outputs(name, (reference.run(feed)[0] for feed in feeds))
            found.accuracies.append(Accuracy(name, classes_of(made), wanted))
            if is_float and graph is not None:
                found.noise = layer_noise(graph, opened(), feeds[:NOISE_INPUTS])
        except ReferenceMissing as error:
            found.notes.append(f"without the framework's own results: {error}")
    if graph is not None:
        name = "int8, on the CPU"
        first = graph.caller_outputs[0]
        made = outputs(name, (values[first] for values in sequence(graph, feeds)))
        found.accuracies.append(Accuracy(name, classes_of(made), wanted))
    output = session.model.outputs[0].name
    name = f"chip, device {device_name}"
    on_chip = outputs(name, (session.run(feed).outputs[output] for feed in feeds))
    if graph is not None:
        same = int((on_chip == made).all(1).sum())
        found.notes.append(f"{same} of {len(feeds)} outputs of the chip equal those of int8 on the CPU in every bit")
    found.accuracies.append(Accuracy(name, classes_of(on_chip), wanted))
    return found


def load_array(path: str | PathLike) -> np.ndarray:
    """The array of a .npy file, or the only one of a .npz file. Raises ValueError for other files, and for those that
    unpack to too much (`array_files`)."""
    arrays = load_arrays(path)
    if isinstance(arrays, np.ndarray):
        return arrays
    if len(arrays) != 1:
        raise ValueError(f"{path}: must hold one array, not {len(arrays)} ({', '.join(arrays)})")
    return next(iter(arrays.values()))
