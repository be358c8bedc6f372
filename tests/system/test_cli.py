"""The `lepton` command as a user types it, on the RTL."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lepton
import lepton.models
import numpy as np
import pytest

MODEL = lepton.models.load("mnist")
LEPTON = Path(sys.executable).with_name("lepton")
FST_HEADER = bytes([0]) + (329).to_bytes(8, "big")  # block type and length, which open every FST file


@pytest.fixture
def command(tmp_path):
    """`command("sim", "--images", "1", status=0)`: stdout and stderr as one text, spaces squeezed."""
    def run(*arguments, status=0, **environment):
        done = subprocess.run([LEPTON, *map(str, arguments)], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=550, check=False,
                              env=os.environ | {"XDG_DATA_HOME": str(tmp_path / "data")} | environment)
        assert done.returncode == status, done.stdout
        return " ".join(done.stdout.split())
    return run


def test_sim_on_the_chip(command, tmp_path):
    out = command("sim", "--images", "2")
    for text in ("base: 16x16 int8 multipliers, 256 MACs a cycle, an assumed 100 MHz, on device 'rtl'",
                 "mnist: 8 layers, 2.38 M MACs",
                 "2 of 2 images identical to the golden model and to LiteRT's outputs, byte for byte",
                 "bytes of the memory that programs write", "100.0 % (2 of 2 labelled images)",
                 "images a second, host included", "cycles at an assumed 100 MHz", "cycles a second;",
                 "2 results of run", "in build, device device-"):
        assert text in out, out
    assert any((tmp_path / "build" / "results").rglob("*")), "nothing was stored"


def test_sim_on_the_golden_model(command):
    out = command("sim", "--images", "2", "--device", "golden", "--config", "small")
    assert "small: 8x8 int8 multipliers" in out and "on device 'golden'" in out
    assert "2 of 2 images identical to LiteRT's outputs, byte for byte" in out
    assert "unknown: this device does not count cycles" in out


def test_sim_finds_one_wrong_byte(command, tmp_path):
    """The recorded output in the file is changed, and its checksum in the card, not the code that reads them."""
    shutil.copytree(Path(lepton.__file__).parent, tmp_path / "changed" / "lepton")
    folder = tmp_path / "changed" / "lepton" / "models" / "mnist"
    path = folder / "mnist_samples.npz"
    with np.load(path) as file:
        samples = dict(file)
    samples["outputs"][1, 3] ^= 1
    np.savez_compressed(path, **samples)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    paths = os.pathsep.join(filter(None, [str(tmp_path / "changed"), os.environ.get("PYTHONPATH")]))
    out = command("sim", "--images", "3", "--config", "tiny", status=1, PYTHONPATH=paths)
    assert "2 of 3 images identical" in out
    assert "image 1: output against LiteRT's: 1 of 10 bytes differ, first at offset 3: 0x" in out


def test_compile_and_run(command, tmp_path):
    out = command("compile", MODEL.path, "-o", "net.lepton", "--config", "tiny")
    assert "written net.lepton," in out and "for configuration tiny" in out
    np.save(tmp_path / "x.npy", MODEL.inputs[4:6])
    out = command("run", "net.lepton", "--input", "x.npy", "--output", "y.npz")
    assert "tiny: 4x4 int8 multipliers, 16 MACs a cycle, an assumed 100 MHz, on device 'rtl'" in out
    assert "y.npz, outputs of 2 inputs" in out
    with np.load(tmp_path / "y.npz") as outputs:
        np.testing.assert_array_equal(outputs["classifier"], MODEL.outputs[4:6])


def test_wrong_input_is_one_line(command, tmp_path):
    np.save(tmp_path / "x.npy", MODEL.inputs[0])
    command("compile", MODEL.path, "-o", "net.lepton", "--config", "tiny")
    out = command("run", "net.lepton", "--input", "x.npy", status=2)
    assert out.startswith("chip tiny") or out.startswith("lepton: ")
    assert "input 'x' must have shape (1, 28, 28, 1), not (28, 28, 1)" in out and "Traceback" not in out


def test_waves(command, tmp_path):
    out = command("sim", "--images", "1", "--config", "tiny", "--waves", "chip.fst", "--window", "500:1500")
    assert "1 of 1 images identical" in out and "waveforms chip.fst" in out
    data = (tmp_path / "chip.fst").read_bytes()
    assert data.startswith(FST_HEADER) and len(data) > 10_000
    first, last = (int.from_bytes(data[at:at + 8], "big") for at in (9, 17))
    assert (first, last) == (5000, 15005), "nanoseconds, ten of them a cycle, to the last edge"
