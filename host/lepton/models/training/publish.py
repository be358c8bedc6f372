"""From a trained module to the files that ship: quantized, measured, with its card."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import torch

from lepton.arch import PRESETS
from lepton.compiler import compile_graph
from lepton.device import open as open_device
from lepton.frontends.logs import quiet
from lepton.frontends.torch import convert, load_pt2
from lepton.program import CompiledModel
from lepton.runtime import Session

from ..card import CARD, FOLDER, Card, as_json, markdown, predicted
from ..metrics import METRICS
from .recipe import Recipe

CALIBRATION = 256  # inputs of the training data with which ranges are found


def publish(recipe: Recipe) -> Card:
    """Write the folder of a recipe whose module is trained; its card."""
    folder = FOLDER / recipe.name
    folder.mkdir(exist_ok=True)
    x, y = recipe.test
    with torch.no_grad():
        floats = torch.cat([recipe.module(part) for part in torch.from_numpy(x).split(256)]).numpy()
    converted, example = convert(recipe.module, recipe.train[0][:CALIBRATION])
    program = folder / f"{recipe.name}.pt2"
    # Copies: an example is a view of the calibration data, and the file would hold all of them.
    examples = tuple(x.clone() for x in (example if isinstance(example, tuple) else (example,)))
    with quiet(), torch.no_grad():
        torch.export.save(torch.export.export(converted, examples), program)
        int8 = np.concatenate([converted(row[None]).numpy() for row in torch.from_numpy(x)])
    graph = load_pt2(program)
    samples = recipe.samples or {"inputs": x[: recipe.sample_count], "labels": y[: recipe.sample_count]}
    inputs = samples["inputs"]
    if inputs.dtype == np.uint8:
        inputs = inputs.astype(np.float32) / 255
    outputs, same = _outputs(compile_graph(graph, PRESETS["tiny"]), inputs, converted)
    stored = io.BytesIO()
    np.savez_compressed(stored, **(samples | {"outputs": outputs}))  # type: ignore[arg-type]  # numpy's stub
    data = {program.name: program.read_bytes(), f"{recipe.name}_samples.npz": stored.getvalue()}
    _write(folder / f"{recipe.name}_samples.npz", stored.getvalue())
    metric = METRICS[recipe.metric]
    card = Card(
        name=recipe.name,
        title=recipe.title,
        field=recipe.field,
        task=recipe.task,
        data=recipe.data,
        licence=recipe.licence,
        synthetic=recipe.synthetic,
        input=recipe.input,
        output=recipe.output,
        classes=recipe.classes,
        metric=recipe.metric,
        float_value=round(metric(x, floats, y), 4),
        int8_value=round(metric(x, int8, y), 4),
        tested=len(x),
        baselines={name: round(value, 4) for name, value in recipe.baselines.items()},
        parameters=sum(p.numel() for p in recipe.module.parameters()),
        program=program.name,
        files={name: hashlib.sha256(value).hexdigest() for name, value in data.items()},
        script=f"python -m lepton.models.training {recipe.name}",
        reference=f"Lepton's golden model; {same} of {len(outputs)} equal PyTorch's int8 module in every bit",
        **predicted(graph),
    )
    write_card(card)
    print(
        f"{recipe.name}: {recipe.metric} float {card.float_value:.4f}, int8 {card.int8_value:.4f}, "
        f"baselines {card.baselines}, {card.cycles['base']:,} cycles, {sum(map(len, data.values())):,} bytes",
        flush=True,
    )
    return card


def write_card(card: Card) -> None:
    """Both forms of a card."""
    _write(card.folder / CARD, as_json(card))
    _write(card.folder / "README.md", markdown(card).encode())


def _outputs(model: CompiledModel, inputs: np.ndarray, converted: torch.nn.Module) -> tuple[np.ndarray, int]:
    """The golden model's outputs, and how many of them are PyTorch's, too."""
    with open_device("golden", config=model.config) as device, Session(model, device) as session:
        outputs = session.predict(inputs)
    assert isinstance(outputs, np.ndarray)
    with torch.no_grad():
        torchs = np.concatenate([converted(row[None]).numpy() for row in torch.from_numpy(inputs)])
    return outputs, int((outputs == torchs.reshape(outputs.shape)).reshape(len(outputs), -1).all(1).sum())


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole, so that an interruption leaves the old one."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)
