"""`torch.compile(module, backend="lepton")`: what is quantized runs on a device, the rest as before."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lepton.dynamo  # noqa: E402
from lepton.frontends.torch import convert  # noqa: E402
from torch import nn  # noqa: E402


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    lepton.dynamo.fallbacks.clear()


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(96, 5)).eval()


def images(count):
    return torch.from_numpy(np.random.default_rng(4).normal(0, 1, (count, 2, 8, 8)).astype(np.float32))


def on_device(function, *inputs):
    """The results, and whether no graph fell back to PyTorch."""
    with torch.no_grad():
        made = function(*inputs)
    return made, not lepton.dynamo.fallbacks


def test_a_converted_module_gives_its_own_bytes():
    converted, _ = convert(network(), images(20))
    fast = torch.compile(converted, backend="lepton", options={"config": "tiny"})
    for x in images(3).split(1):
        made, on_chip = on_device(fast, x)
        assert on_chip, lepton.dynamo.fallbacks
        with torch.no_grad():
            torch.testing.assert_close(made, converted(x), rtol=0, atol=0)


def test_calibration_data_quantize_a_float_module():
    module = network()
    fast = torch.compile(module, backend="lepton", options={"calibration": images(20), "config": "tiny",
                                                            "device": "golden"})
    x = images(1)
    made, on_chip = on_device(fast, x)
    assert on_chip, lepton.dynamo.fallbacks
    with torch.no_grad():
        real = module(x)
    assert 0 < (made - real).abs().max() < 0.05 * real.abs().max()


def test_what_is_not_quantized_falls_back():
    module = network()
    fast = torch.compile(module, backend="lepton")
    with pytest.warns(UserWarning, match="backend 'lepton': PyTorch computes a graph of .* nodes: it is not quantized"):
        made, on_chip = on_device(fast, images(2))
    assert not on_chip
    with torch.no_grad():
        torch.testing.assert_close(made, module(images(2)))


def test_training_falls_back_and_has_gradients():
    module = network()
    fast = torch.compile(module, backend="lepton", options={"calibration": images(20)})
    with pytest.warns(UserWarning, match="gradients are asked for"):
        fast(images(2)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_unknown_options_are_refused():
    fast = torch.compile(network(), backend="lepton", options={"devise": "rtl"})
    with torch.no_grad(), pytest.raises(Exception, match="must be among calibration, device, config, not 'devise'"):
        fast(images(1))
