"""`lepton doctor`, `device`, `completion` and `train`."""

import json
import subprocess
import sys

import numpy as np
import pytest
from lepton.cli import doctor, main
from lepton.cli.status import EXIT_DIFFERENT, EXIT_USER_ERROR
from lepton.cli.train import layers_of
from lepton.device import Device


def words(text: str) -> str:
    return " ".join(text.split())


def test_doctor_finds_what_is_installed(capsys):
    assert main(["doctor"]) == 0
    assert "what the basic commands need is there" in words(capsys.readouterr().out)
    assert main(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert found["cli"]["fine"] and found["python"]["found"].startswith("3.")


def test_doctor_says_what_is_missing_and_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setattr(
        doctor, "requires", lambda name: ['rich>=14; extra == "cli"', 'nowhere-to-be-found; extra == "sim"']
    )
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert main(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert (
        found["sim"]["remedy"] == "pip install 'lepton-chip[sim]' (no nowhere-to-be-found)" and not found["sim"]["fine"]
    )
    assert found["g++"]["remedy"] == "apt-get install g++ make" and found["cli"]["fine"]


def test_doctor_ends_with_1_without_what_it_needs(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ['nowhere-to-be-found; extra == "cli"'])
    assert main(["doctor"]) == EXIT_DIFFERENT
    assert "1 needed thing is missing" in words(capsys.readouterr().out)


def test_extras_in_extras_are_followed():
    assert {"torch", "torchao", "scikit-learn"} <= set(doctor.packages("toolkit"))


def test_device_list_and_info(capsys):
    assert main(["device", "list"]) == 0
    out = capsys.readouterr().out
    assert "golden" in out and "rtl" in out
    assert main(["device", "info", "golden", "--config", "tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["id"] == 0x4C455054 and found["config"]["name"] == "tiny"
    assert main(["device", "info", "golden", "--config", "tiny"]) == 0
    assert "ID 0x4c455054" in words(capsys.readouterr().out)


def test_selftest_passes(capsys):
    assert main(["device", "selftest", "golden", "--config", "tiny"]) == 0
    out = words(capsys.readouterr().out)
    assert (
        "65 536 bytes written and read, all equal" in out.replace("\xa0", " ")
        and "8 of 8 outputs" in out
        and "passed" in out
    )


def test_selftest_finds_memory_that_loses_bits(capsys, monkeypatch):
    from lepton_sim.golden.device import GoldenDevice

    original = GoldenDevice.read_memory

    def broken(self: Device, address: int, size: int) -> np.ndarray:
        made = original(self, address, size).copy()
        made[:1] ^= 4
        return made

    monkeypatch.setattr(GoldenDevice, "read_memory", broken)
    assert main(["device", "selftest", "golden", "--config", "tiny"]) == EXIT_DIFFERENT
    assert "1 differ" in words(capsys.readouterr().out)
    assert main(["device", "selftest", "golden", "--config", "tiny", "--json"]) == EXIT_DIFFERENT
    assert json.loads(capsys.readouterr().out)["wrong_bytes"] == 1


def test_an_unknown_device(capsys):
    assert main(["device", "info", "fpga"]) == EXIT_USER_ERROR
    assert "device must be one of golden, rtl, serial, not 'fpga'" in words(capsys.readouterr().err)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    for command in ("compile", "models", "doctor", "--calibration"):
        assert command in out


def test_bash_takes_the_completion(tmp_path, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "lepton.bash").write_text(capsys.readouterr().out)
    shown = subprocess.run(
        ["bash", "-c", f"source {tmp_path}/lepton.bash && complete -p lepton"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "lepton" in shown


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom lepton.cli.main import make_parser\nmake_parser().format_help()\n"
        "bad = {'torch', 'tflite', 'onnx', 'pandas', 'matplotlib', 'amaranth', 'rich', 'shtab'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_from_text():
    assert layers_of("conv:16:3,pool:2, dense:32") == [("conv", (16, 3)), ("pool", (2,)), ("dense", (32,))]
    assert layers_of("") == []


@pytest.mark.parametrize("text", ["conv:16", "pool", "dense:x", "lstm:3"])
def test_layers_of_another_form(text, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((4, 1, 8, 8), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(4, np.int64))
    assert (
        main(
            [
                "train",
                "--input",
                str(tmp_path / "x.npy"),
                "--labels",
                str(tmp_path / "y.npy"),
                "--layers",
                text,
                "-o",
                str(tmp_path / "n.lepton"),
            ]
        )
        == EXIT_USER_ERROR
    )
    assert "--layers must be like conv:16:3,pool:2,dense:32" in words(capsys.readouterr().err)


def test_train_makes_a_network_that_eval_takes(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 120)
    x = random.normal(0, 0.3, (120, 1, 8, 8)).astype(np.float32)
    x[y == 1, :, :4] += 1
    np.save("x.npy", x)
    np.save("y.npy", y)
    command = [
        "train",
        "--input",
        "x.npy",
        "--labels",
        "y.npy",
        "--layers",
        "conv:8:3,pool:2",
        "--epochs",
        "4",
        "--config",
        "tiny",
        "-o",
        "net.lepton",
        "--metrics",
        "m.jsonl",
        "--json",
    ]
    assert main(command) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["file"] == "net.lepton" and out["figures"]["val_accuracy"] > 0.8 and out["after"]["int8_accuracy"] > 0.8
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 4
    assert main(["eval", "net.lepton", "--input", "x.npy", "--labels", "y.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] == 120
