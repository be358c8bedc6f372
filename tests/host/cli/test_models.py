"""`lepton models`, and the networks that ship."""

import json

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
    assert "2.38 M" in out
    assert main(["models", "list", "--json"]) == 0
    assert [card["name"] for card in json.loads(capsys.readouterr().out)] == list(lepton.models.NAMES)


@pytest.mark.parametrize("name", lepton.models.NAMES)
def test_every_network_has_a_card_a_file_and_runs(name, capsys, tmp_path):
    assert main(["models", "info", name]) == 0
    card = capsys.readouterr().out
    model = lepton.models.load(name)
    for text in (f"# {name}", model.facts.metric, "icense", model.facts.script):
        assert text in card
    assert main(["models", "info", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == model.facts.files
    assert main(["models", "get", name]) == 0
    assert (tmp_path / model.path.name).read_bytes() == model.path.read_bytes()
    if model.path.suffix == ".pt2":
        pytest.importorskip("torch")
    assert main(["models", "run", name, "--config", "tiny", "--images", "3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"identical 3 of 3 outputs to {model.facts.reference.partition(';')[0]}" in out


def test_unknown_names(capsys):
    assert main(["models", "info", "resnet"]) == EXIT_USER_ERROR
    message = f"the network must be one of {', '.join(lepton.models.NAMES)}, not 'resnet'"
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_digits_of_scikit_learn_are_the_samples():
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    from lepton.models.train_digits import TESTED, pictures

    images, labels = pictures()
    model = lepton.models.load("digits")
    count = len(model.labels)
    np.testing.assert_array_equal(model.images, images[TESTED:TESTED + count])
    np.testing.assert_array_equal(model.labels, labels[TESTED:TESTED + count])
