"""`lepton log` on the simulated board, and where it cannot be."""

import pytest
from lepton.arch.controller import EventKind
from lepton.cli import main
from lepton.driver.log import LogEvent


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
