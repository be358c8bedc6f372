"""Trains the network `digits`: a small classifier of 8 x 8 digits, quantized to int8.

    python -m lepton.models.train_digits

The data come with scikit-learn, so that nothing is downloaded. Needs the extras `toolkit` and `tflite`.
"""

import copy
import hashlib
import io

import numpy as np
import torch
from torch import nn

from lepton.frontends import quantize
from lepton.frontends.tflite import export_tflite
from lepton.graph import Arithmetic
from lepton.graph.passes import apply

from .card import CARD, FOLDER, Card, as_json, predicted
from .train_mnist import count_macs, run_litert, write

TRAINED = 1000  # of 1797
HELD = 200  # the next ones choose the epoch
TESTED = TRAINED + HELD  # the first of the others, which are digits of other writers and choose nothing
EPOCHS = 40
RATE = 1e-3  # Adam's own (Kingma and Ba, 2015)
SAMPLES = 100
LEAST_ACCURACY = 0.93

PAGE = """# digits

A small classifier of handwritten digits of 8 x 8 pixels, quantized to int8: the smallest network with convolutions,
a pool and a dense layer, for tutorials and quick tests.

| | |
|---|---|
| task | image classification, 10 classes |
| input | 8 x 8 x 1, int8: grey value (0..255) minus 128; scale 1/255, zero point -128 |
| output | 10 logits, int8; the largest is the digit |
| parameters | {parameters:,} |
| multiply-accumulates | {macs:,} |
| accuracy on {tested} images that did not train it, float32 (PyTorch) | {float_accuracy:.2%} |
| accuracy on the same, int8 (LiteRT, `OpResolverType.BUILTIN_REF`) | {int8_accuracy:.2%} |

Files: `digits.tflite` ({model_bytes:,} bytes), and `digits_samples.npz` with the first {samples} of those images
(`images`, uint8), their `labels`, and the `outputs` of LiteRT's reference kernels for them (int8).

## How it was made

    python -m lepton.models.train_digits

makes all files of this folder, this page included: Adam for {epochs} epochs on the first {trained} images, and the
weights of the epoch with the lowest loss on the next {held}; seed 0, one thread, torch {torch}; then Lepton's own
post-training quantizer. On another processor, floating point sums may round differently, and the weights with them.

## Data

`sklearn.datasets.load_digits`: the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits",
UCI Machine Learning Repository, under the Creative Commons Attribution 4.0 license (CC BY 4.0). Grey values are
multiplied by 255/16. Writers of the first and last images differ, which makes the accuracy lower than that of a random
split.
"""


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """uint8 (1797, 8, 8) from 0 to 255, and the digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return np.rint(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), y.astype(np.int64)


def as_input(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32) / 255)[:, None]


def train(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """Trained on the first TRAINED images; the last HELD choose the epoch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential()
    for name, layer in (("first", nn.Conv2d(1, 16, 3, padding=1)), ("relu1", nn.ReLU()), ("pool", nn.MaxPool2d(2)),
                        ("second", nn.Conv2d(16, 32, 3)), ("relu2", nn.ReLU()), ("flatten", nn.Flatten()),
                        ("dropout", nn.Dropout(0.3)), ("classifier", nn.Linear(128, 10))):
        net.add_module(name, layer)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    x = as_input(images)
    y = torch.from_numpy(labels)
    best = float("inf")
    state = copy.deepcopy(net.state_dict())
    for epoch in range(EPOCHS):
        net.train()
        for batch in torch.randperm(TRAINED, generator=torch.Generator().manual_seed(epoch)).split(40):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            held = float(nn.functional.cross_entropy(net(x[TRAINED:]), y[TRAINED:]))
        if held < best:
            best = held
            state = copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    return net.eval()


def main() -> int:
    images, labels = pictures()
    net = train(images[:TESTED], labels[:TESTED])
    test = images[TESTED:]
    wanted = labels[TESTED:]
    with torch.no_grad():
        float_accuracy = float((net(as_input(test)).argmax(1).numpy() == wanted).mean())
    graph = quantize(net, as_input(images[:256]), name="digits")
    graph.arithmetic = Arithmetic.FIXED  # the file is TFLite's, and so is the rounding
    graph = apply(graph, "int8-edges")
    model = export_tflite(graph)
    outputs = run_litert(model, test)
    accuracy = float((outputs.argmax(1) == wanted).mean())
    print(f"float accuracy {float_accuracy:.2%}, int8 accuracy {accuracy:.2%}")
    if accuracy < LEAST_ACCURACY:
        print(f"int8 accuracy must be at least {LEAST_ACCURACY:.1%}, not {accuracy:.2%}: no file was written")
        return 1
    samples = io.BytesIO()
    np.savez_compressed(samples, images=test[:SAMPLES], labels=wanted[:SAMPLES].astype(np.uint8),
                        outputs=outputs[:SAMPLES])
    card = PAGE.format(parameters=sum(p.numel() for p in net.parameters()), macs=count_macs(graph), tested=len(test),
                       float_accuracy=float_accuracy, int8_accuracy=accuracy, model_bytes=len(model), samples=SAMPLES,
                       epochs=EPOCHS, trained=TRAINED, held=HELD, torch=torch.__version__.split("+")[0])
    files = {"digits.tflite": model, "digits_samples.npz": samples.getvalue()}
    for name, data in (files | {"README.md": card.encode()}).items():
        write(FOLDER / "digits" / name, data)
    facts = Card(
        name="digits", title="handwritten digits, small", field="research", task="image classification, 10 classes",
        data=f"scikit-learn's digits (E. Alpaydin and C. Kaynak, UCI), {TRAINED} train, {HELD} choose, {len(test)} of "
             "other writers test",
        licence="data CC BY 4.0, weights Apache-2.0", synthetic="",
        input="8 x 8 x 1, int8: grey value (0..255) minus 128", output="10 logits, int8",
        classes=tuple(map(str, range(10))), metric="accuracy", float_value=round(float_accuracy, 4),
        int8_value=round(accuracy, 4), tested=len(test), baselines={"guessing": 0.1},
        parameters=sum(p.numel() for p in net.parameters()), program="digits.tflite",
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        script="python -m lepton.models.train_digits", reference="LiteRT's reference kernels", **predicted(graph))
    write(FOLDER / "digits" / CARD, as_json(facts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
