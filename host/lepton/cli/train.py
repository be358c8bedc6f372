"""`lepton train`: arrays to a trained, quantized and compiled network."""

import json
import zipfile
from argparse import Namespace
from typing import Any

import numpy as np

from .. import device as devices
from .console import make_console
from .files import FileError, check_writable

_KINDS = {"conv": 2, "pool": 1, "dense": 1}  # numbers that each needs


def run(arguments: Namespace) -> int:
    from ..toolkit.chip import LeptonChip
    from ..toolkit.kit import LeptonToolkit
    from ..toolkit.network import LeptonNetwork

    console = make_console(stderr=arguments.json)
    check_writable(arguments.output)
    x = _array("--input", arguments.input)
    y = _array("--labels", arguments.labels)
    if x.ndim == 3:  # grey pictures without an axis of channels
        x = x[:, None]
    layers = layers_of(arguments.layers)
    console.print(f"training with {len(x)} inputs of {'x'.join(map(str, x.shape[1:]))}; importing torch")
    console.file.flush()
    if arguments.pretrained:
        network = LeptonToolkit().load_pretrained_model(arguments.pretrained)
    else:
        import torch

        shape = tuple(x.shape[1:])
        network = LeptonNetwork(torch.nn.Sequential(), shape, input_shape=shape, name="trained")
    classes = int(y.max()) + 1 if y.ndim == 1 and y.dtype.kind in "iu" else None
    for kind, numbers in layers:
        if kind == "conv":
            network.add_conv_layer(None, numbers[0], numbers[1])
        elif kind == "pool":
            network.add_pooling_layer(numbers[0])
        else:
            network.add_dense_layer(None, numbers[0], activation="relu")
    outputs = classes if classes is not None else int(np.prod(y.shape[1:], dtype=int))
    network.add_dense_layer(None, outputs)
    with devices.open(arguments.device, config=arguments.config) as device:
        network.compile(LeptonChip(device), optimizer=arguments.optimizer,
                        loss="categorical_crossentropy" if classes is not None else "mse")
        options: dict[str, Any] = {"batch_size": arguments.batch_size, "patience": arguments.patience,
                                   "metrics": arguments.metrics, "seed": arguments.seed,
                                   "learning_rate": arguments.rate}
        history = network.fit(x, y, epochs=arguments.epochs, checkpoint=arguments.checkpoint, **options)
        if arguments.quantization_aware:
            history = network.fit(x, y, epochs=max(1, arguments.epochs // 3), quantization_aware=True, **options)
        report = network.optimize(prune=arguments.prune)
        network.deploy(file=arguments.output)
        network.close()
    best = history.epochs[history.best_epoch]
    if arguments.json:
        print(json.dumps({"file": arguments.output, "best_epoch": history.best_epoch + 1, "figures": best,
                          "after": vars(report.after), "notes": report.notes}))
        return 0
    console.print(str(network), soft_wrap=True, markup=False)
    console.print(str(report), soft_wrap=True, markup=False)
    console.print(f"written {arguments.output}; next: lepton eval {arguments.output} --input X.npy --labels Y.npy")
    return 0


def layers_of(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The layers that "conv:16:3,pool:2,dense:32" means. Raises `FileError` for another form."""
    made: list[tuple[str, tuple[int, ...]]] = []
    for part in filter(None, text.split(",")):
        kind, *rest = part.strip().split(":")
        try:
            numbers = tuple(int(number) for number in rest)
        except ValueError:
            numbers = ()
        if kind not in _KINDS or len(numbers) != _KINDS[kind]:
            raise FileError(f"--layers must be like conv:16:3,pool:2,dense:32 (conv:CHANNELS:KERNEL, pool:KERNEL, "
                            f"dense:OUTPUTS), not {part!r}")
        made.append((kind, numbers))
    return made


def _array(what: str, path: str) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: {what} must be a .npy file with one array ({error})") from error
    if not isinstance(array, np.ndarray) or not array.ndim or not array.size:
        raise FileError(f"{path}: {what} must be a .npy file with one array")
    return array
