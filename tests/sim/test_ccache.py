"""ccache is put before the compiler where it is installed, and builds in other folders find what it has."""

import os
import subprocess

import lepton_sim.compile as steps
import pytest
from lepton_sim.board import Announcement


@pytest.fixture
def wrapper(tmp_path, monkeypatch):
    """A program named ccache that notes what it is called with, and calls it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ccache"
    program.write_text(f'#!/bin/sh\necho "$CCACHE_BASEDIR $CCACHE_NOHASHDIR $CCACHE_SLOPPINESS" >> {tmp_path}/calls\n'
                       'exec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "calls"


def compiled(folder):
    folder.mkdir()
    source = folder / "a.cpp"
    source.write_text("int a() { return 1; }\n")
    steps.compile_objects([(source, folder / "a.o", [])])
    assert (folder / "a.o").exists()


def test_it_is_used_where_it_is_installed(wrapper, tmp_path):
    compiled(tmp_path / "work")
    assert wrapper.read_text().split() == [str(tmp_path / "work"), "1", "pch_defines,time_macros"]


def test_it_can_be_turned_off(wrapper, tmp_path, monkeypatch):
    monkeypatch.setenv(steps.CCACHE_SWITCH, "0")
    compiled(tmp_path / "work")
    assert not wrapper.exists()


def test_the_real_one_finds_what_was_built_in_another_folder(tmp_path, monkeypatch):
    if not steps.ccache():
        pytest.skip("ccache is not installed")
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path / "cache"))
    compiled(tmp_path / "one")
    compiled(tmp_path / "two")
    shown = subprocess.run([*steps.ccache(), "--print-stats"], capture_output=True, text=True, check=True).stdout
    assert "direct_cache_hit\t1" in shown, shown


def test_a_build_is_announced_to_those_who_show_no_progress(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lepton_sim.board.time.monotonic", lambda: now[0])
    say = Announcement("tiny")
    for second, message in ((0, "running Verilator"), (1, "compiled 1 of 9: a.cpp"), (6, "compiled 2 of 9: b.cpp"),
                            (7, "built the board in 7.0 s")):
        now[0] = float(second)
        say(message)
    lines = capsys.readouterr().err.splitlines()
    assert "building the simulated chip 'tiny'. This takes minutes, and is done once; lepton.device.open(" in lines[0]
    assert lines[1:] == ["lepton: running Verilator", "lepton: compiled 2 of 9: b.cpp",
                         "lepton: built the board in 7.0 s"]
