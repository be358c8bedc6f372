"""Programs come from the package; a C compiler is needed only by those who change the sources."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lepton.arch import PRESETS
from lepton.firmware import build, shipped
from lepton.firmware.build import BuildError
from lepton.firmware.image import build_image


@pytest.fixture
def no_compiler(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ziglang" else find(name, *a))
    monkeypatch.setattr(build, "compile_c", lambda *_: pytest.fail("the compiler was started"))


def moved(monkeypatch, tmp_path, sources):
    """Let the package be in another folder, next to the sources or without them."""
    monkeypatch.delenv("LEPTON_BUILD", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if sources:
        shutil.copytree(build.sources(), tmp_path / "firmware")
    monkeypatch.setattr(build, "__file__", str(tmp_path / "host" / "lepton" / "firmware" / "build.py"))


@pytest.mark.parametrize("name", build.PROGRAMS)
def test_what_ships_is_what_the_sources_are_compiled_to(name):
    hint = "the firmware's sources were changed: run `python -m lepton.firmware.build` and commit host/lepton/firmware"
    assert build.sources_digest() == shipped.sources_digest(), hint
    assert build.compiled(name) == shipped.load(name), hint


def test_unchanged_sources_need_no_compiler(no_compiler):
    assert len(build.rom()) * 4 == len(shipped.load("rom").code)
    assert shipped.load("app").code in build_image(PRESETS["tiny"], Ed25519PrivateKey.generate())


def test_an_installed_package_needs_neither_sources_nor_compiler(no_compiler, monkeypatch, tmp_path):
    moved(monkeypatch, tmp_path, sources=False)
    assert build.sources() is None and build.program("app") == shipped.load("app")
    assert build.build_root() == tmp_path / "cache" / "lepton"
    assert build.key()


def test_changed_sources_are_compiled_or_the_compiler_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "built")
    shutil.copytree(Path(build.__file__).with_name("built"), tmp_path / "built")
    moved(monkeypatch, tmp_path, sources=True)
    assert build.program("rom") == shipped.load("rom")
    source = next((tmp_path / "firmware" / "rom").glob("*.c"))
    source.write_text(source.read_text() + "\nint added_by_a_test(int x);\nint added_by_a_test(int x) { return x; }\n")
    with monkeypatch.context() as patched:
        find = importlib.util.find_spec
        patched.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "ziglang" else find(name, *a))
        with pytest.raises(BuildError, match=r"sources were changed and must be compiled with the package ziglang, "
                                             r"which is not installed; install it with: pip install 'lepton-chip"):
            build.program("rom")
    assert build.program("rom").code[:16] == shipped.load("rom").code[:16]
    assert os.listdir(tmp_path / "build" / "firmware")
    assert build.main() == 0
    assert build.sources_digest() == shipped.sources_digest() and build.program("rom") == build.compiled("rom")
