"""ResNet-20 from PyTorch (../shared/data/cifar10): quantized with training images, as accurate as float on others."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton.device  # noqa: E402
from lepton.compiler import compile_graph  # noqa: E402
from lepton.frontends.torch import convert, import_converted  # noqa: E402
from lepton.runtime import ComparingSession, Session  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

DATA = Path(__file__).parents[3] / "shared/data"
FILES = ("cifar10/resnet20.th", "cifar10/train_1000.npz", "ic/ic01_100.npz")
missing = [name for name in FILES if not (DATA / name).is_file()]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"../shared/data/{', '.join(missing)} is absent")


class Block(nn.Module):
    """Two convolutions and a shortcut without weights: every second pixel, new channels zero (option A of the paper,
    He et al. 2015, "Deep residual learning for image recognition", section 4.2)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.narrow = stride == 2
        self.extra = (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.narrow:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def images(name: str) -> tuple[torch.Tensor, np.ndarray]:
    data = np.load(DATA / name)
    x = data["x"].astype(np.float32) / 255
    x = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), data["y"].astype(int)


@pytest.fixture(scope="module")
def networks():
    torch.set_num_threads(1)
    net = ResNet20()
    saved = torch.load(DATA / FILES[0], map_location="cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): value for name, value in saved.items()})
    calibration, _ = images(FILES[1])
    converted, example = convert(net.eval(), calibration[:128].split(32))
    return net, converted, compile_graph(import_converted(converted, (example,), "resnet20"), "base")


def test_accuracy_within_a_point_of_float(networks):
    net, _, model = networks
    x, labels = images(FILES[2])
    with torch.no_grad():
        exact = (net(x).argmax(1).numpy() == labels).mean()
    with lepton.device.open("golden", config="base") as device, Session(model, device) as session:
        outputs = [session.run(image[None]).outputs["output"] for image in x.numpy()]
    ours = (np.concatenate(outputs).argmax(1) == labels).mean()
    assert exact > 0.85 and abs(exact - ours) <= 0.01


def test_rtl_is_golden_and_within_a_step_of_pytorch(networks):
    _, converted, model = networks
    x, _ = images(FILES[2])
    with (lepton.device.open("rtl", config="base") as rtl, lepton.device.open("golden", config="base") as golden,
          ComparingSession(model, rtl, golden) as session):
        for image in x[:2]:
            comparison = session.run(image[None].numpy())
            assert not comparison.differences, str(comparison.differences[0])
            result = comparison.result.outputs["output"]
            with torch.no_grad():
                expected = converted(image[None]).numpy()
            step = np.diff(np.unique(expected)).min()
            assert np.abs(result - expected).max() <= 1.01 * step
