"""A Keras model on the torch backend is taken wherever a torch module is."""

import importlib.util
import os
import subprocess
import sys

import pytest

if importlib.util.find_spec("keras") is None:  # not imported: without a backend that would fail
    pytest.skip("keras is not installed", allow_module_level=True)
pytest.importorskip("torch")

# In a process of its own: Keras reads the environment when it is imported.
SCRIPT = """
import keras
import numpy as np
import lepton
from lepton.estimators import Classifier
keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
                          keras.layers.MaxPooling2D(), keras.layers.Conv2D(16, 3, activation="relu"),
                          keras.layers.Flatten(), keras.layers.Dense(10)])
model.save("net.keras")
model = keras.models.load_model("net.keras")
x = np.random.default_rng(0).random((30, 8, 8, 1)).astype(np.float32)
compiled = lepton.compile(model.eval(), calibration=x, config="tiny")
on_chip = [placed.op for placed in compiled.placement if placed.where == "chip"]
assert on_chip.count("Conv2D") == 2 and "FullyConnected" in on_chip and "MaxPool2D" in on_chip, on_chip
real = model.predict(x, verbose=0)
made = Classifier(compiled, device="golden").decision_function(x)
assert np.abs(made - real).max() < 0.05 * np.abs(real).max(), np.abs(made - real).max()
network = lepton.LeptonToolkit().from_module(model, (8, 8, 1))
network.compile(lepton.LeptonChip("golden", "tiny"))
network.fit(x, np.arange(30) % 10, epochs=1, verbose=False)
network.deploy()
assert network.decision_function(x[:2]).shape == (2, 10)
print("as expected")
"""


def test_a_keras_model(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False,
                          timeout=600, env=os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"})
    assert "as expected" in done.stdout, done.stdout + done.stderr[-3000:]
