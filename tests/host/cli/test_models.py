"""`lepton models`, and the networks that ship."""

import lepton.models
import numpy as np
import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_list_has_every_network(capsys):
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    for name in lepton.models.NAMES:
        assert name in out
    assert "28x28x1" in out and "2.38 M" in out


@pytest.mark.parametrize("name", lepton.models.NAMES)
def test_every_network_has_a_card_a_file_and_runs(name, capsys, tmp_path):
    assert main(["models", "info", name]) == 0
    card = capsys.readouterr().out
    for text in (f"# {name}", "accuracy", "license", f"python -m lepton.models.train_{name}"):
        assert text in card
    assert main(["models", "get", name]) == 0
    assert (tmp_path / f"{name}.tflite").read_bytes() == lepton.models.load(name).path.read_bytes()
    assert main(["models", "run", name, "--config", "tiny", "--images", "3"]) == 0
    assert "identical  3 of 3 outputs to LiteRT's reference kernels" in capsys.readouterr().out


def test_unknown_names(capsys):
    assert main(["models", "info", "resnet"]) == EXIT_USER_ERROR
    assert "the network must be one of digits, mnist, not 'resnet'" in capsys.readouterr().err


def test_the_digits_of_scikit_learn_are_the_samples():
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    from lepton.models.train_digits import TRAINED, pictures

    images, labels = pictures()
    model = lepton.models.load("digits")
    count = len(model.labels)
    np.testing.assert_array_equal(model.images, images[TRAINED:TRAINED + count])
    np.testing.assert_array_equal(model.labels, labels[TRAINED:TRAINED + count])
