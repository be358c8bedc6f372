"""`lepton chip`: what it says about a chip, and what it writes."""

import json

import pytest
from lepton.cli import main
from lepton.cli.status import EXIT_USER_ERROR

OWN = 'base = "tiny"\nscratchpad_kib = 16\nwindow_columns = 0\n'


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(OWN)


def test_info(capsys):
    assert main(["chip", "info", "--config", "own.toml", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["config"]["scratchpad_kib"] == 16 and found["config"]["name"] == "own"
    assert "own: 4x4 int8 multipliers in the array, 16 MACs a cycle" in err and "elaborating the chip" in err
    (banks,) = (memory for memory in found["memories"] if memory["count"] == memory["width"] // 8
                and memory["depth"] * 4 * 4 == 16 * 1024)
    assert (banks["count"], banks["width"], banks["bits"]) == (4, 32, 16 * 1024 * 8)
    blocks = {block["name"]: block for block in found["blocks"]}
    assert blocks["lepton_array"]["multipliers"] == {"8x8": 16}  # without a window unit each has one use
    assert blocks["lepton_requantize"]["count"] == 4
    assert blocks["lepton_requantize"]["source"] == "lepton_hdl/tensor/requantize.py"
    assert "lepton_window" not in blocks


def test_verilog(tmp_path, capsys):
    assert main(["chip", "verilog", "--config", "own.toml", "-o", "made"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "lepton_chip.f (file list), lepton_chip.core (FuseSoC)" in out and "window unit none" in out
    listed = (tmp_path / "made" / "lepton_chip.f").read_text().split()
    assert "lepton_array.v" in listed and all((tmp_path / "made" / name).exists() for name in listed)
    assert "name: lepton:chip:own:0.1.0" in (tmp_path / "made" / "lepton_chip.core").read_text()


def test_a_file_in_the_place_of_the_folder(tmp_path, capsys):
    (tmp_path / "made").write_text("")
    assert main(["chip", "verilog", "--config", "tiny", "-o", "made"]) == EXIT_USER_ERROR
    assert capsys.readouterr().err == "lepton: made: is a file; name a folder for the Verilog\n"


@pytest.mark.parametrize(("arguments", "text"), [
    (["chip"], "the following arguments are required: ACTION"),
    (["chip", "verilog"], "the following arguments are required: -o/--output"),
    (["chip", "info", "--config", "none.toml"], "argument --config: none.toml: No such file or directory"),
])
def test_bad_arguments(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == EXIT_USER_ERROR
    assert text in capsys.readouterr().err
