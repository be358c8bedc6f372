"""Areas and longest paths of a design whose figures are known; whatever is left out is reported."""

import json
from xml.etree import ElementTree

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from lepton.arch import PRESETS
from lepton.cli import main
from lepton.cli.chip_area import picture
from lepton.cli.status import EXIT_USER_ERROR
from lepton_hdl.control.semaphores import Semaphores
from lepton_hdl.flow import area
from lepton_hdl.flow.area import BlockArea, ChipArea, cell_area, fpga_area
from lepton_hdl.flow.yosys import FlowError
from lepton_hdl.memory.weights import WeightMemory

from tests.hdl.control.expose import Exposed
from tests.hdl.flow.cells import AREAS, GATE_PS, liberty


class Nand(wiring.Component):
    """One gate and one flip-flop."""

    def __init__(self):
        super().__init__({"a": In(1), "b": In(1), "y": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.y.eq(~(self.a & self.b))
        return m


class Design(wiring.Component):
    """Two equal blocks in a row, a product, a memory of 4096 bits and one of 32."""

    def __init__(self):
        super().__init__({"a": In(1), "b": In(1), "y": Out(1), "x": In(signed(12)), "p": Out(signed(24)),
                          "address": In(7), "write": In(1), "data": In(32), "large": Out(32), "few": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate0 = gate0 = Nand()
        m.submodules.gate1 = gate1 = Nand()
        m.d.comb += [gate0.a.eq(self.a), gate0.b.eq(self.b), gate1.a.eq(gate0.y), gate1.b.eq(self.b),
                     self.y.eq(gate1.y)]
        m.d.sync += self.p.eq(self.x * self.x)
        for name, width, depth, output in (("big", 32, 128, self.large), ("small", 8, 4, self.few)):
            m.submodules[name] = memory = Memory(shape=width, depth=depth, init=[])
            write = memory.write_port()
            read = memory.read_port()
            m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), write.en.eq(self.write),
                         read.addr.eq(self.address), output.eq(read.data)]
        return m


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "cells.lib"
    path.write_text(liberty())
    return path


def by_name(found):
    return {block.name: block for block in found.blocks}


def test_standard_cells(library):
    found = cell_area(Design(), "design", library)
    blocks = by_name(found)
    gate = blocks["lepton_gate"]
    # The registers are reset: the next value is one gate more than the NAND.
    assert (gate.count, gate.flip_flops, gate.other) == (2, 1, {})
    assert AREAS["DFF"] + AREAS["NAND2"] < gate.area <= AREAS["DFF"] + 8
    assert gate.path_ps in [n * GATE_PS for n in (2, 3)]
    large = blocks["lepton_memory_128x32_rw"]
    assert (large.memory_bits, large.area, large.flip_flops) == (4096, 0, 0)
    small = blocks["lepton_memory_4x8_rw"]  # from flip-flops: 32 bits, and 8 of data read
    assert (small.memory_bits, small.flip_flops) == (0, 40) and small.area > 40 * AREAS["DFF"]
    top = blocks["lepton_chip"]
    assert top.flip_flops == 24 and top.area > 24 * AREAS["DFF"] + 500, "the product"
    assert top.path_ps == found.path_ps and top.path_ps > 20 * GATE_PS
    assert found.total("area") == pytest.approx(sum(block.area * block.count for block in found.blocks))
    assert found.total("flip_flops") == 24 + 2 + 40


@pytest.mark.parametrize("target", ["ecp5", "gowin"])
def test_fpgas(target):
    found = fpga_area(Design(), "design", target)
    blocks = by_name(found)
    gate = blocks["lepton_gate"]
    assert (gate.count, gate.luts, gate.flip_flops, gate.dsps) == (2, 1, 1, 0)
    # Memories of an FPGA belong to the block that has them.
    assert (blocks["lepton_chip"].dsps, blocks["lepton_chip"].block_rams) == (1, 1) and blocks["lepton_chip"].luts > 0
    assert all(block.other == {} for block in found.blocks), "cells that are not counted"


def test_a_cell_that_nothing_knows_is_named():
    block = BlockArea("x", "", 1)
    area._count(block, "ecp5", "NEW_CELL", 3)
    assert block.other == {"NEW_CELL": 3}


def test_the_command(library, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(area, "chip_of", lambda config: Design())
    arguments = ["chip", "area", "--config", "tiny"]
    assert main([*arguments, "--liberty", "cells.lib", "--json", "--svg", "area.svg"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"] == "tiny" and found["target"] == "cells.lib"
    assert found["total"]["memory_bits"] == 4096 and found["total"]["flip_flops"] == 66
    assert {block["name"] for block in found["blocks"]} >= {"lepton_chip", "lepton_gate", "lepton_memory_4x8_rw"}
    texts = [element.text for element in ElementTree.parse(tmp_path / "area.svg").iter() if element.text]
    assert "2 x lepton_gate" in texts
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "block number LUTs flip-flops DSPs block RAMs" in out and "tiny on ecp5" in out
    assert "Each block by itself" in out and "not counted" not in out


def test_errors_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(area, "chip_of", lambda config: Design())
    assert main(["chip", "area", "--config", "tiny", "--liberty", "none.lib"]) == EXIT_USER_ERROR
    assert "lepton: none.lib: there is no such file; give a liberty file (.lib)" in capsys.readouterr().err
    (tmp_path / "bad.lib").write_text("this is no library")
    with pytest.raises(FlowError, match="Yosys failed"):
        cell_area(Design(), "design", tmp_path / "bad.lib")


def test_the_picture_shows_every_share():
    found = ChipArea("tiny", "ecp5", [BlockArea(f"b{i}", "", 1 + i % 2, luts=100 - i) for i in range(40)])
    root = ElementTree.fromstring(picture(found, "luts"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "b0" in texts and "2 x b1" in texts and "all others" in texts and "b39" not in texts
    shares = [float(text.split("(")[1].split(" ")[0]) for text in texts if text.endswith("%)")]
    assert sum(shares) == pytest.approx(100, abs=2)


def test_a_memory_of_an_fpga_takes_no_registers():
    """Yosys makes 78 for the old word of 32 bits where it is written in the same cycle, if it must."""
    (top,) = (block for block in fpga_area(Design(), "design", "ecp5").blocks if block.name == "lepton_chip")
    assert (top.block_rams, top.flip_flops) == (1, 24 + 8), "the product, and the memory of 32 bits"


@pytest.mark.parametrize("block, luts, flip_flops, block_rams", [
    (Exposed(Semaphores()), 1150, 128, 0),  # 1 112 LUTs when this was written, with four engines
    (Exposed(WeightMemory(PRESETS["tiny"])), 0, 0, 8),
])
def test_blocks_of_the_chip_stay_small(block, luts, flip_flops, block_rams):
    found = fpga_area(block, "block", "ecp5")
    assert found.total("luts") <= luts
    assert (found.total("flip_flops"), found.total("block_rams")) == (flip_flops, block_rams)
