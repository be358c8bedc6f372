"""Networks with scikit-learn's methods."""

import lepton.models
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.estimators import Classifier, Regressor
from lepton.graph import GraphError

MODEL = lepton.models.load("mnist")


@pytest.fixture(scope="module")
def classifier():
    return Classifier(str(MODEL.path), config="tiny", classes=[f"digit {d}" for d in range(10)])


def test_a_classifier(classifier):
    count = 6
    x = MODEL.inputs[:count]
    outputs = classifier.decision_function(x)
    info = classifier.model.outputs[0]
    np.testing.assert_array_equal(outputs, info.scale * (MODEL.outputs[:count].astype(float) - info.zero_point))
    assert classifier.predict(x).tolist() == [f"digit {d}" for d in MODEL.outputs[:count].argmax(1)]
    powers = np.exp(outputs)
    np.testing.assert_allclose(classifier.predict_proba(x), powers / powers.sum(1, keepdims=True), rtol=1e-12)
    assert classifier.score(x, classifier.predict(x)) == 1
    assert classifier.report is not None


def test_real_numbers_and_rows_of_features(classifier):
    """As scikit-learn keeps data: float64 rows."""
    info = classifier.model.inputs[0]
    rows = (info.scale * (MODEL.inputs[:3].astype(float) - info.zero_point)).reshape(3, -1)
    np.testing.assert_array_equal(classifier.decision_function(rows), classifier.decision_function(MODEL.inputs[:3]))


def test_a_regressor():
    regressor = Regressor(compile_graph(MODEL.graph(), "tiny"), device="golden")
    made = regressor.predict(MODEL.inputs[:4])
    assert made.shape == (4, 10) and regressor.score(MODEL.inputs[:4], made) == 1
    assert regressor.score(MODEL.inputs[:4], made + 1) < 1


def test_classes_must_fit():
    with pytest.raises(GraphError, match="the network has 10 outputs; there must be as many classes, and two at least"):
        Classifier(compile_graph(MODEL.graph(), "tiny"), classes=["yes", "no"])
