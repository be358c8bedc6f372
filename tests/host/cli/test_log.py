"""`lepton log` on the simulated board, and where it cannot be."""

import importlib.util
from pathlib import Path

import pytest
from lepton.arch.controller import EventKind
from lepton.cli import main
from lepton.driver.controller import LogEvent
from lepton.firmware import build


def test_a_boot(capsys):
    assert main(["log", "--config", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "BOOT" in out and "firmware 0x" in out and "controller" in out


@pytest.mark.parametrize(("kind", "arguments", "text"), [
    (EventKind.START, (3, 0xABCD, 500, 0), "job 3 program 0xabcd limit 500"),
    (EventKind.END, (3, 1, 777, 0), "job 3 status DONE cycles 777 error NONE"),
    (EventKind.END, (4, 3, 777, 200), "job 4 status ERROR cycles 777 error 200"),
    (EventKind.REFUSED, (5, 9, 0, 0), "job 5 reason PROGRAM_HASH"),
    (EventKind.CLIENT_RESET, (0, 0, 0, 0), ""),
])
def test_events_in_words(kind, arguments, text):
    event = LogEvent(7, 1234, kind, 2, arguments)
    assert event.details == text
    assert str(event) == f"     7           1234 client 2   {kind.name:13} {text}"


def test_every_kind_has_names_for_its_arguments():
    assert all(isinstance(LogEvent(0, 0, kind, 8, (1, 1, 1, 1)).details, str) for kind in EventKind)


def test_without_the_compiler(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ziglang" else find(name, *a))
    assert main(["log", "--config", "tiny"]) != 0
    assert "install it with pip install 'lepton-chip[firmware]'" in " ".join(capsys.readouterr().err.split())


def test_without_the_sources(monkeypatch, capsys, tmp_path):
    installed = tmp_path / "host" / "lepton" / "firmware" / "build.py"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(Path(build.__file__).read_bytes())
    monkeypatch.setattr(build, "__file__", str(installed))
    assert main(["log", "--config", "tiny"]) != 0
    assert "from a checkout of its repository" in " ".join(capsys.readouterr().err.split())
