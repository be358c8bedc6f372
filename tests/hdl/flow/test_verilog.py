"""The readable Verilog: lints clean, keeps hierarchy and names, and is the chip."""

import re
import shutil
import subprocess

import lepton.device as devices
import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out
from lepton.arch import PRESETS
from lepton_hdl.flow import verilog
from lepton_hdl.flow.memories import COLLISIONS, MemoryShape, ReadShape, WriteShape, wrapper
from lepton_sim.plain import Initial, build_plain, opened
from lepton_sim.toolchain import verilator

from tests.hdl.flow.chips import CONFIG, mnist, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("verilog")
    verilog.write(tiny(), path)
    return path


def test_lints_clean_under_verilator(folder):
    tool = verilator()
    done = subprocess.run([tool.binary, "--lint-only", "-Wall", "--top-module", verilog.TOP, "-f", f"{verilog.TOP}.f"],
                          cwd=folder, env=tool.environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus is not installed (apt-get install iverilog)")
def test_lints_clean_under_icarus(folder):
    done = subprocess.run(["iverilog", "-g2005", "-Wall", "-t", "null", "-s", verilog.TOP, "-f", f"{verilog.TOP}.f"],
                          cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_file_for_each_block():
    made = tiny()
    for name, text in made.files.items():
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [name.removesuffix(".v")]
    for name in ("lepton_chip", "lepton_array", "lepton_tail", "lepton_requantize", "lepton_scratchpad"):
        assert f"{name}.v" in made.files
    top = made.files["lepton_chip.v"]
    assert "input [13:0] host__awaddr;" in top and "lepton_core core (" in top
    requantize = made.files["lepton_requantize.v"]
    assert requantize.startswith("// Made from lepton_hdl/tensor/requantize.py for lepton_chip.core.datapath.tensor.")
    assert "reg [31:0] multiplier;" in requantize  # a name of the source
    assert not re.search(r"/home|/tmp|/work|/root", made.text()), "a path of this machine"


def test_equal_blocks_are_one():
    made = tiny()
    (requantize,) = (block for block in made.blocks if block.name == "lepton_requantize")
    assert len(requantize.places) == CONFIG.columns
    assert made.files["lepton_tail.v"].count("lepton_requantize requantize") == CONFIG.columns


def test_the_file_lists_name_every_file(folder):
    names = set(tiny().files)
    assert set((folder / "lepton_chip.f").read_text().split()) == names
    core = (folder / "lepton_chip.core").read_text()
    assert core.startswith("CAPI=2:\n") and "toplevel: lepton_chip" in core
    assert set(re.findall(r"^      - (\S+)$", core, re.MULTILINE)) == names
    assert {path.name for path in folder.iterdir()} == names | {"lepton_chip.f", "lepton_chip.core"}


def test_no_register_has_an_initial_value():
    for name, text in tiny().files.items():
        found = [line for line in text.splitlines() if re.search(r"^\s*(reg .*=|initial\b)", line)]
        assert all(re.fullmatch(r"  reg lepton_start +(= 0;)", line) for line in found), (name, found)


def test_mnist_is_exact_whatever_registers_and_memories_hold_at_first():
    """The whole network on this Verilog under plain Verilator, with the cycles of the model that `lepton sim` runs.

    A word that is written in the cycle in which it is read is read inverted, for an FPGA's block RAM gives anything.
    """
    library = build_plain(f"`define {COLLISIONS}\n{tiny().text()}")
    runs = {}
    for initial in Initial:
        with opened(library, CONFIG, initial) as device:
            runs[initial] = mnist(device, 1), device.memory.copy()
    with devices.open("rtl", config=CONFIG) as device:
        expected = mnist(device, 1)
    for (results, memory) in runs.values():
        assert [cycles for cycles, _ in results] == [cycles for cycles, _ in expected]
        assert np.array_equal(memory, runs[Initial.ZEROS][1])


def test_wrapper_of_a_memory_with_all_kinds_of_ports(tmp_path):
    shape = MemoryShape(16, 12, (ReadShape("sync", (0,)), ReadShape(None, ())), (WriteShape("sync", 8),))
    text = wrapper(shape)
    assert shape.name == "lepton_memory_12x16_rtrawb8"
    for line in ("if (w0_en[1]) cells[w0_addr][15:8] <= w0_data[15:8];", "assign r1_data = cells[r1_addr];",
                 "if (w0_en[0] && w0_addr == r0_addr) r0_data[7:0] <= w0_data[7:0];",
                 "lepton_memory_12x16_rtrawb8_macro macro ("):
        assert line in text
    (tmp_path / "m.v").write_text(text)
    # The macro: the model under the macro's name.
    (tmp_path / "macro.v").write_text(text.replace("LEPTON_MEMORY_MACROS", "NEVER").replace(shape.name,
                                                                                           f"{shape.name}_macro"))
    tool = verilator()
    for options in (["m.v"], ["-DLEPTON_MEMORY_MACROS", "m.v", "macro.v", "--top-module", shape.name]):
        done = subprocess.run([tool.binary, "--lint-only", "-Wall", "-Wno-DECLFILENAME", *options], cwd=tmp_path,
                              env=tool.environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_rom_keeps_its_words():
    class Rom(wiring.Component):
        def __init__(self):
            super().__init__({"o": Out(8)})

        def elaborate(self, platform):
            m = Module()
            m.submodules.memory = memory = Memory(shape=8, depth=4, init=[1, 2, 3, 250])
            m.d.comb += self.o.eq(memory.read_port(domain="comb").data)
            return m

    blocks, platform = verilog.elaborate(Rom())
    ((shape, count),) = platform.memories.items()
    assert (shape.init, count, shape.writes) == ((1, 2, 3, 250), 1, ())
    assert "cells[3] = 8'hfa;" in wrapper(shape) and shape.name.startswith("lepton_rom_4x8_ra_")
    assert PRESETS["tiny"].name == "tiny" and blocks[0].name == verilog.TOP
