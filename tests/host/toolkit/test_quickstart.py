"""examples/quickstart.py does what it says; on the golden model of the chip `tiny`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.py"
# The listing that the project began with; only the network has its own name.
LISTING = """
from lepton import LeptonChip, LeptonToolkit
l_chip = LeptonChip()
l_toolkit = LeptonToolkit()
l_model = l_toolkit.load_pretrained_model('model_name')
l_model.add_conv_layer(3, 32, 3)
l_model.add_pooling_layer(2, 2)
l_model.add_dense_layer(32, 10)
l_model.compile(l_chip, optimizer='adam', loss='categorical_crossentropy')
l_model.fit(x_train, y_train, epochs=10, batch_size=32)
l_model.optimize()
l_model.deploy(l_chip)
l_model.cloud_integrate(l_cloud)
"""


def test_the_listing_is_in_it():
    text = QUICKSTART.read_text(encoding="utf-8")
    position = text.index("from lepton import LeptonChip, LeptonCloud, LeptonToolkit")
    for line in LISTING.strip().splitlines()[1:]:
        wanted = line.replace("model_name", "digits-features")
        position = text.index(wanted, 0 if "l_chip = " in wanted else position)


def test_it_runs(tmp_path):
    (tmp_path / "build").mkdir()
    environment = {"LEPTON_DEVICE": "golden", "LEPTON_CONFIG": "tiny", "OMP_NUM_THREADS": "1",
                   "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, QUICKSTART], cwd=tmp_path, capture_output=True, text=True, check=False,
                          timeout=600, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-3000:]
    accuracy = float(re.search(r"accuracy on the chip: (\S+) % of 297 digits", done.stdout).group(1))
    assert accuracy > 75
    assert "297 results of run" in done.stdout and "cycles, predicted" in done.stdout
    assert "epoch 10 of 10" in done.stderr
