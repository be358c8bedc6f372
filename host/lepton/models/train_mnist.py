"""Makes the shipped network: trains it on MNIST, quantizes it, measures it with LiteRT, writes the files.

    python -m lepton.models.train_mnist --data ../shared/data/mnist

needs the extras `torch`, `tflite` and the package `ai-edge-litert`. Everything random is seeded, and the
number of threads is fixed because it decides the order of floating point sums.
"""

import argparse
import gzip
import hashlib
import io
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lepton.frontends import export_tflite
from lepton.frontends.torch import quantize
from lepton.graph import Arithmetic, Graph
from lepton.graph.passes import apply

from . import FOLDER, to_int8
from .card import CARD, Card, as_json, predicted
from .mnist_net import MnistNet

DESCRIPTION = "Makes the shipped network: trains it on MNIST, quantizes it, measures it with LiteRT, writes the files."
SEED = 20261122
THREADS = 2
# The values with which the shipped network was trained; its page (mnist/README.md) has the accuracy.
EPOCHS = 8
BATCH = 128
PEAK_RATE = 4e-3
CALIBRATION_IMAGES = 512
SAMPLES = 100
LEAST_ACCURACY = 0.985
TRAIN_FILE = "mnist_train_60000.npz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
# Bytes before the data in IDX files: magic and one 32-bit size per dimension (the format is described with MNIST).
IMAGES_OFFSET = 16
LABELS_OFFSET = 8


def load_data(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, test images and labels; images uint8 (N, 28, 28), labels int64.

    Raises SystemExit that names the missing file.
    """
    for name in (TRAIN_FILE, TEST_IMAGES, TEST_LABELS):
        if not (folder / name).is_file():
            raise SystemExit(f"{folder / name} is missing: --data must name the folder with {TRAIN_FILE}, "
                             f"{TEST_IMAGES} and {TEST_LABELS}")
    with np.load(folder / TRAIN_FILE) as train:
        images = train["x"]
        labels = train["y"].astype(np.int64)
    with gzip.open(folder / TEST_IMAGES) as file:
        test_images = np.frombuffer(file.read(), np.uint8, offset=IMAGES_OFFSET).reshape(-1, 28, 28)
    with gzip.open(folder / TEST_LABELS) as file:
        test_labels = np.frombuffer(file.read(), np.uint8, offset=LABELS_OFFSET).astype(np.int64)
    return images, labels, test_images, test_labels


def as_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, 28, 28) to the network's input (N, 1, 28, 28) in 0..1."""
    return torch.from_numpy(images.copy()).unsqueeze(1).float() / 255


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Small random rotations (10 degrees), zooms (10 %) and shifts (2 pixels)."""
    noise = torch.rand(len(x), 4, generator=generator) * 2 - 1
    angle = noise[:, 0] * 0.175  # radians
    zoom = 1 + noise[:, 1] * 0.1
    cos = torch.cos(angle) * zoom
    sin = torch.sin(angle) * zoom
    shift = noise[:, 2:] * (2 / 14)  # of half the image's size
    matrix = torch.stack((torch.stack((cos, -sin, shift[:, 0]), 1), torch.stack((sin, cos, shift[:, 1]), 1)), 1)
    return F.grid_sample(x, F.affine_grid(matrix, list(x.shape), align_corners=False), align_corners=False)


def train(images: np.ndarray, labels: np.ndarray, epochs: int = EPOCHS) -> MnistNet:
    """The float network, trained and in eval mode."""
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    x = as_input(images)
    y = torch.from_numpy(labels)
    net = MnistNet().train()
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=epochs * steps, pct_start=0.2)
    for epoch in range(epochs):
        start = time.monotonic()
        total = 0.0
        order = torch.randperm(len(x), generator=generator)
        for step in range(steps):
            chosen = order[step * BATCH:(step + 1) * BATCH]
            loss = F.cross_entropy(net(augment(x[chosen], generator)), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    return net.eval()


def float_accuracy(net: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    with torch.no_grad():
        predicted = [net(as_input(images[i:i + 1000])).argmax(1) for i in range(0, len(images), 1000)]
    return float((torch.cat(predicted).numpy() == labels).mean())


def calibrated(net: MnistNet, images: np.ndarray) -> Graph:
    """The int8 network, calibrated with the first training images."""
    batches = [as_input(images[i:i + 64]) for i in range(0, CALIBRATION_IMAGES, 64)]
    graph = quantize(net, batches, name="mnist", progress=lambda done, total: print(
        f"calibration: image {done} of {CALIBRATION_IMAGES}", flush=True))
    graph.arithmetic = Arithmetic.FIXED  # the file is TFLite's, and so is the rounding
    return apply(graph, "int8-edges")


def run_litert(model: bytes, images: np.ndarray) -> np.ndarray:
    """LiteRT's reference kernels (BUILTIN_REF) on uint8 (N, 28, 28): int8 (N, 10)."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    outputs = []
    for x in to_int8(images):
        interpreter.set_tensor(source, x[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result)[0])
    return np.stack(outputs)


PAGE = """# mnist

A small convolutional network that recognizes handwritten digits, quantized to int8. It ships with Lepton so that
the chip has something real to run, and it has every kind of layer that the chip runs: convolutions with strides of 1
and 2, with and without padding, a residual addition, maximum and average pooling, a fully connected layer.

| | |
|---|---|
| input | 28 x 28 x 1, int8: pixel (0..255) minus 128; scale 1/255, zero point -128 |
| output | 10 logits, int8; the largest is the digit |
| parameters | {parameters:,} |
| multiply-accumulates | {macs:,} |
| accuracy on the 10 000 test images, float32 (PyTorch) | {float_accuracy:.2%} |
| accuracy on the 10 000 test images, int8 (LiteRT, `OpResolverType.BUILTIN_REF`) | {int8_accuracy:.2%} |

Files: `mnist.tflite` ({model_bytes:,} bytes), and `mnist_samples.npz` with the first {samples} images of the test set
(`images`, uint8), their `labels`, and the `outputs` of LiteRT's reference kernels for them (int8).

## How it was made

    python -m lepton.models.train_mnist --data ../shared/data/mnist

makes all files of this folder, this page included. The float network (`mnist_net.py`) is trained by AdamW for {epochs}
epochs with small random rotations, zooms and shifts; seed {seed}, {threads} threads, torch {torch}. Lepton's own
post-training quantizer (`lepton.frontends.quantize`, minimum and maximum over {calibration} training images, weights
per channel) makes the int8 network; there is no quantization-aware training. On another processor, floating point
sums may round differently, and the weights with them.

## Data

MNIST, by Yann LeCun, Corinna Cortes and Christopher J. C. Burges: 60 000 training and 10 000 test images, under the
Creative Commons Attribution-Share Alike 3.0 license (CC BY-SA 3.0). The {samples} images in `mnist_samples.npz` are
unchanged images of its test set, under the same license.
"""


def count_macs(graph: Graph) -> int:
    """Multiply-accumulates of the layers with weights."""
    total = 0
    for node in graph.nodes:
        if len(node.inputs) == 3:
            weights = graph.tensors[node.inputs[1]].shape
            output = graph.tensors[node.outputs[0]].shape
            total += int(np.prod(output) * np.prod(weights[1:]))
    return total


def mnist_card(graph: Graph, floats: float, int8: float, parameters: int, files: dict[str, bytes]) -> Card:
    return Card(
        name="mnist", title="handwritten digits", field="research", task="image classification, 10 classes",
        data="MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), 60 000 train, 10 000 test",
        licence="data CC BY-SA 3.0, weights Apache-2.0", synthetic="",
        input="28 x 28 x 1, int8: grey value (0..255) minus 128", output="10 logits, int8",
        classes=tuple(map(str, range(10))), metric="accuracy", float_value=round(floats, 4), int8_value=round(int8, 4),
        tested=10000, baselines={"guessing": 0.1}, parameters=parameters, program="mnist.tflite",
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "README.md"},
        script="python -m lepton.models.train_mnist --data ../shared/data/mnist",
        reference="LiteRT's reference kernels", **predicted(graph))


def write(path: Path, data: bytes) -> None:
    """Replace a file as a whole, so that an interruption leaves the old one."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lepton.models.train_mnist", description=DESCRIPTION)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {TRAIN_FILE} and the test set")
    parser.add_argument("--output", type=Path, default=FOLDER / "mnist",
                        help="folder for the files (default: the package's own)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="number of epochs (default: %(default)s)")
    options = parser.parse_args(arguments)
    images, labels, test_images, test_labels = load_data(options.data)
    net = train(images, labels, options.epochs)
    graph = calibrated(net, images)
    model = export_tflite(graph)
    outputs = run_litert(model, test_images)
    accuracy = float((outputs.argmax(1) == test_labels).mean())
    figures = {"float_accuracy": float_accuracy(net, test_images, test_labels), "int8_accuracy": accuracy}
    print(f"float accuracy {figures['float_accuracy']:.2%}, int8 accuracy {accuracy:.2%}")
    if accuracy < LEAST_ACCURACY:
        print(f"int8 accuracy must be at least {LEAST_ACCURACY:.1%}, not {accuracy:.2%}: no file was written")
        return 1
    samples = io.BytesIO()
    np.savez_compressed(samples, images=test_images[:SAMPLES], labels=test_labels[:SAMPLES].astype(np.uint8),
                        outputs=outputs[:SAMPLES])
    card = PAGE.format(
        **figures, parameters=sum(p.numel() for p in net.parameters()), macs=count_macs(graph), model_bytes=len(model),
        samples=SAMPLES, epochs=options.epochs, seed=SEED, threads=THREADS, torch=torch.__version__.split("+")[0],
        calibration=CALIBRATION_IMAGES)
    options.output.mkdir(parents=True, exist_ok=True)
    files = {"mnist.tflite": model, "mnist_samples.npz": samples.getvalue(), "README.md": card.encode()}
    facts = mnist_card(graph, figures["float_accuracy"], accuracy, sum(p.numel() for p in net.parameters()), files)
    files[CARD] = as_json(facts)
    for name, data in files.items():
        write(options.output / name, data)
        print(f"wrote {options.output / name}: {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
