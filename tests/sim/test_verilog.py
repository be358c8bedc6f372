"""Verilog generation: deterministic, cached, and the same memory contents with fewer lines."""

import re

import pytest
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from lepton_hdl.dma.walk import Walk
from lepton_sim import verilog
from lepton_sim.verilog import generate, shorten_initial_blocks


class Table(wiring.Component):
    """A memory with some words set."""

    address: In(8)
    data: Out(12)

    def __init__(self, init):
        self.init = init
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = memory.Memory(shape=12, depth=200, init=self.init)
        port = table.read_port()
        m.d.comb += [port.addr.eq(self.address), self.data.eq(port.data), port.en.eq(1)]
        return m


def contents(text: str) -> dict[int, int]:
    """Play the initial block of the one memory in `text`."""
    words = {}
    for line in text.splitlines():
        if match := re.search(r"for \(\w+ = (\d+); \w+ <= (\d+);", line):
            first = int(match[1])
            last = int(match[2])
        elif match := re.search(r"\[lepton_word_\d+\] = 12'h(\w+);", line):
            words |= dict.fromkeys(range(first, last + 1), int(match[1], 16))
        elif match := re.search(r"\[(\d+)\] = 12'h(\w+);", line):
            words[int(match[1])] = int(match[2], 16)
    return words


@pytest.mark.parametrize("init", [[], [5], [0] * 20 + [1, 2, 3], [7] * 200, list(range(200))])
def test_contents_survive_shortening(init):
    text = generate(Table(init), "table")
    assert contents(text) == dict(enumerate(init + [0] * (200 - len(init))))


def test_equal_words_become_a_loop():
    text = generate(Table([1, 2]), "table")
    assert text.count("= 12'h000;") == 1
    assert "for (lepton_word_0 = 2; lepton_word_0 <= 199; lepton_word_0 = lepton_word_0 + 1)" in text


def test_escaped_names_and_gaps_are_kept():
    block = "".join(f"    \\a.b [{i}] = 4'h0;\n" for i in [*range(10), *range(11, 15)])
    assert shorten_initial_blocks(block) == block  # not consecutive: left as it is
    block = "".join(f"    \\a.b [{i}] = 4'h0;\n" for i in range(10))
    assert "\\a.b [lepton_word_0] = 4'h0;" in shorten_initial_blocks(block)


def test_the_same_design_gives_the_same_text_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEPTON_BUILD", str(tmp_path))
    first = generate(Table([3]), "table")
    monkeypatch.setattr(verilog, "_yosys", lambda text: pytest.fail("Yosys ran although the design is cached"))
    assert generate(Table([3]), "table") == first
    assert len(list((tmp_path / "verilog").iterdir())) == 1


def test_no_source_positions_and_no_build_names():
    text = generate(Table([3]), "table")
    assert "src" not in text and "Yosys" not in text and __file__ not in text
    assert text.startswith("module ")


def test_a_refused_design_says_why():
    with pytest.raises(verilog.VerilogError, match=r"Yosys failed with status 1: .*ERROR"):
        verilog._yosys("module \\top\n  nonsense\nend\n")


def test_fields_of_structs_have_signals_only_where_they_are_asked_for():
    """Without them the text has neither the signals nor anything that is taken apart by field."""
    with_fields = generate(Walk(), "walk")
    without = generate(Walk(), "walk", fields=False)
    assert r"\command__payload.opcode" in with_fields
    assert "payload.opcode" not in without
    assert without.count("\n") < with_fields.count("\n")
