"""Every network that ships: its card, its files, its outputs, and what its figures are worth."""

import dataclasses
import json

import numpy as np
import pytest
from lepton import models
from lepton.models import ModelFilesError
from lepton.models.card import CARD, as_json, markdown, predicted, read_card
from lepton.models.metrics import LOWER_IS_BETTER, METRICS

CARDS = models.cards()
# What int8 may lose of a figure that is better when it is higher; of others 1 %. Whether boxes overlap by half changes
# with a pixel: F1 of boxes loses 0.034 today.
LOSS = dict.fromkeys(METRICS, 0.01) | {"F1 of boxes": 0.04}
TRAINED_HERE = [name for name, card in CARDS.items() if "lepton.models.training" in card.script]


def test_there_are_ten_at_least_of_all_kinds():
    assert len(CARDS) >= 10
    tasks = " ".join(card.task for card in CARDS.values())
    for kind in (
        "image classification",
        "detection",
        "segmentation",
        "recurrent",
        "anomaly",
        "forecasting",
        "tabular risk",
        "attention",
    ):
        assert kind in tasks, kind
    assert {"driving", "medicine", "industry", "finance", "home"} <= {card.field for card in CARDS.values()}


@pytest.mark.parametrize("name", CARDS)
def test_files_and_card(name):
    card = CARDS[name]
    card.check()
    model = models.load(name)
    assert len(model.inputs) == len(model.outputs) >= 32 and len(model.labels) in (0, len(model.inputs))
    assert sum(path.stat().st_size for path in card.folder.iterdir()) < 900_000
    assert as_json(card) == (card.folder / CARD).read_bytes()
    assert card.macs > 0 and card.parameters > 0 and set(card.cycles) == {"tiny", "base"}
    assert card.licence and card.metric in METRICS and card.tested >= 40


@pytest.mark.parametrize("name", CARDS)
def test_the_card_has_the_cycles_that_the_compiler_predicts(name):
    """Within 3 %, so that not every change of the compiler changes the cards."""
    card = CARDS[name]
    now = predicted(models.load(name).graph())
    assert now["macs"] == card.macs
    assert now["cycles"] == pytest.approx(card.cycles, rel=0.03)


@pytest.mark.parametrize("name", TRAINED_HERE)
def test_the_page_is_the_card(name):
    assert models.load(name).card == markdown(CARDS[name])


@pytest.mark.parametrize("name", CARDS)
def test_it_is_better_than_simple_methods(name):
    card = CARDS[name]
    assert card.baselines
    for value in card.baselines.values():
        if card.metric in LOWER_IS_BETTER:
            assert card.int8_value < value and card.int8_value < 1.01 * card.float_value
        else:
            assert card.int8_value > value and card.int8_value > card.float_value - LOSS[card.metric]


@pytest.mark.parametrize("name", CARDS)
def test_the_samples_outputs_are_as_good_as_the_card_says(name):
    """As far as 32 to 250 samples of the test data can say."""
    model = models.load(name)
    card = CARDS[name]
    score = model.score(model.outputs)
    if score is None:
        assert not len(model.labels)
    elif card.metric in LOWER_IS_BETTER:
        assert score < 1.05 * card.int8_value
    else:
        assert score > card.int8_value - 0.07


def test_a_changed_file_is_named(tmp_path, monkeypatch):
    card = CARDS["digits"]
    monkeypatch.setattr("lepton.models.card.FOLDER", tmp_path)
    (tmp_path / "digits").mkdir()
    for name in card.files:
        (tmp_path / "digits" / name).write_bytes((models.FOLDER / "digits" / name).read_bytes() + b"x")
    with pytest.raises(
        ModelFilesError, match=r"digits\.tflite: is missing or not the file .* make it again with: python -m"
    ):
        card.check()


def test_score_wants_all_outputs():
    model = models.load("bearing")
    with pytest.raises(ValueError, match=r"outputs must have the shape \(60, 64\), not \(1, 64\)"):
        model.score(model.outputs[:1])


def test_a_card_survives_its_file(tmp_path):
    card = CARDS["weather"]
    (tmp_path / CARD).write_bytes(as_json(card))
    assert read_card(tmp_path / CARD) == card
    assert json.loads(as_json(card))["classes"] == []
    assert dataclasses.replace(card, name="other").path.parent.name == "other"


def test_the_metrics():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert METRICS["accuracy"](outputs, outputs, np.array([1, 1])) == 0.5
    assert METRICS["mean absolute error"](outputs, np.array([[1.0], [3.0]]), np.array([[2.0], [1.0]])) == 1.5
    assert METRICS["Dice coefficient"](outputs, np.array([1.0, 1, -1, -1]), np.array([1, 0, 1, 0])) == 0.5
    inputs = np.array([[0.0], [0.0], [1.0], [3.0]])
    assert METRICS["area under the ROC curve"](inputs, np.zeros((4, 1)), np.array([0, 0, 1, 1])) == 1
    assert METRICS["area under the ROC curve"](inputs[:3], np.ones((3, 1)), np.array([0, 1, 1])) == 0.25


def test_boxes_are_matched_once():
    label = np.zeros((1, 6, 6, 12))
    label[0, 0, 2, 3] = 1
    label[0, 2:, 2, 3] = (0.5, 0.5, np.log(2), np.log(1))
    output = np.full((1, 6, 6, 12), -9.0)
    output[0, 0, 2, 3] = 9
    output[0, 2:, 2, 3] = label[0, 2:, 2, 3]
    detection = METRICS["F1 of boxes"]
    assert detection(output, output, label) == 1
    output[0, :2, 2, 3] = (-9, 9)  # the other kind
    assert detection(output, output, label) == 0
    output[0, 0, 2, 3] = 9
    output[0, 2:4, 2, 3] = (-1.5, 0.5)  # 16 pixels to the left: the box does not overlap by half
    assert detection(output, output, label) == 0
