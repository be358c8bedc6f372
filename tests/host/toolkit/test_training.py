"""Training: the best weights are kept, and a killed training goes on as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lepton.toolkit.data import DataError, inputs_as_tensor, labels_as_tensor  # noqa: E402
from lepton.toolkit.training import Settings, Trainer  # noqa: E402
from torch import nn  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def data(count=200):
    random = np.random.default_rng(7)
    x = random.normal(0, 1, (count, 6)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0))


def trainer(**options):
    module = network()
    return module, Trainer(module, *data(), "adam", "categorical_crossentropy",
                           Settings(**({"epochs": 6, "verbose": False} | options)))


def test_it_learns_and_repeats_itself():
    made = []
    for _ in range(2):
        module, training = trainer(epochs=25)
        history = training.run()
        made.append(module.state_dict())
    assert history.epochs[-1]["val_accuracy"] >= 0.7 and len(history.epochs) == 25
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert "val_accuracy" in str(history) and "*" in str(history)


def test_the_best_weights_are_kept(tmp_path):
    """With a rate that makes the loss rise and fall."""
    module, training = trainer(epochs=8, learning_rate=0.3)
    history = training.run()
    losses = [figures["val_loss"] for figures in history.epochs]
    assert history.best_epoch == int(np.argmin(losses)) < 7
    with torch.no_grad():
        x, y = data()
        assert float(nn.functional.cross_entropy(module(x[180:]), y[180:])) == pytest.approx(min(losses), rel=1e-5)


def test_training_ends_early():
    _, training = trainer(epochs=100, learning_rate=0.3, patience=3)
    history = training.run()
    assert history.stopped_early and len(history.epochs) == history.best_epoch + 4 < 100


SCRIPT = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from tests.host.toolkit.test_training import trainer
module, training = trainer(checkpoint="state.pt", metrics="metrics.jsonl")
keep = training._keep
def dies(figures, epoch):
    keep(figures, epoch)
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
training._keep = dies
training.run()
"""


def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=os.environ | {"PYTHONPATH": root}, check=False)
    assert done.returncode == -9
    module, training = trainer(checkpoint="state.pt", metrics="metrics.jsonl")
    history = training.run()
    whole, other = trainer()
    assert other.run() == history
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line["val_loss"] for line in lines] == [figures["val_loss"] for figures in history.epochs]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_checkpoints_of_others_are_refused(tmp_path):
    path = tmp_path / "state.pt"
    trainer(checkpoint=path, epochs=1)[1].run()
    with pytest.raises(DataError, match="is the checkpoint of another training"):
        trainer(checkpoint=path, seed=4)[1].run()
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="is no checkpoint that can be read"):
        trainer(checkpoint=path)[1].run()


def test_progress_shows_what_is_left(capsys, monkeypatch):
    now = iter(range(1000))
    monkeypatch.setattr("lepton.toolkit.training.time.monotonic", lambda: float(next(now)))
    trainer(epochs=3, verbose=True)[1].run()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "epoch 1 of 3  loss " in lines[0] and "s left" in lines[0] and "left" not in lines[2]


@pytest.mark.parametrize(("options", "text"), [
    ({"learning_rate": 1e30}, "lower the learning rate, or scale the inputs"),
    ({"validation": 1.0}, "must be a share below 1"),
    ({"epochs": 0}, "epochs and batch_size at least 1"),
])
def test_bad_settings(options, text):
    with pytest.raises(DataError, match=text):
        trainer(**options)[1].run()


def test_arrays_become_tensors():
    image = np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4)
    assert inputs_as_tensor(image, (2, 3, 4)).shape == (1, 2, 3, 4)
    last = inputs_as_tensor(np.moveaxis(image, 1, -1), (2, 3, 4))
    assert torch.equal(last, torch.from_numpy(image).float())
    assert torch.equal(inputs_as_tensor(image.reshape(1, -1), (2, 3, 4)), last)
    assert inputs_as_tensor(np.zeros((5, 3, 4)), (1, 3, 4)).shape == (5, 1, 3, 4)
    for wrong, text in ((np.zeros((5, 7)), r"must be \(N, 2, 3, 4\), channels last, or rows of 24 numbers, not 5x7"),
                        (np.full((1, 24), np.nan), "must be finite"), (np.zeros((0, 24)), "one input at least"),
                        (np.array(["a"]), "an array of numbers")):
        with pytest.raises(DataError, match=text):
            inputs_as_tensor(wrong, (2, 3, 4))
    assert labels_as_tensor(np.eye(3)[[2, 0]], 2, 3).tolist() == [2, 0]
    for wrong, text in ((np.array([0, 3]), "from 0 to 2, or rows of 3 numbers, not int64 of shape .* up to 3"),
                        (np.array([0.0, 1.0]), "whole numbers from 0 to 2"),
                        (np.zeros(5, int), "one label for each of the 2")):
        with pytest.raises(DataError, match=text):
            labels_as_tensor(wrong, 2, 3)
