"""The scope: poke, step, look at ports, internals and memories, waves; two blocks at once; a prompt."""

import gc
import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import PRESETS
from lepton_hdl.chip import Chip
from lepton_sim import scope, scope_build
from lepton_sim.scope import ScopeError
from lepton_sim.verilog import _ports

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.filterwarnings("ignore:.*created but never used")  # blocks whose construction failed


class Summer(wiring.Component):
    """Adds `i` to a total each cycle and keeps a history of totals."""

    def __init__(self, width: int = 8, config=None):
        self.width = width
        super().__init__({"i": In(width), "total": Out(width), "twice": Out(width + 1), "wide": Out(100),
                          "at": In(4), "past": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.history = history = memory.Memory(shape=self.width, depth=16, init=[7] * 3)
        steps = Signal(4)
        port = history.write_port()
        view = history.read_port(domain="comb")
        m.d.comb += [view.addr.eq(self.at), self.past.eq(view.data)]
        m.d.comb += [port.addr.eq(steps), port.data.eq(self.total), port.en.eq(1), self.twice.eq(self.total + self.i),
                     self.wide.eq(self.total << 90)]
        m.d.sync += [self.total.eq(self.total + self.i), steps.eq(steps + 1)]
        return m


class Inverter(wiring.Component):
    """Has no clock."""

    i: In(4)
    o: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(~self.i)
        return m


class Picky(wiring.Component):
    def __init__(self):
        raise ValueError("it has a reason")


@pytest.fixture(scope="module")
def summer():
    return Summer(8)


def test_poke_step_look(summer):
    with scope.open(summer) as s:
        assert s.look("total") == 0
        s.poke(i=3)
        assert s.look("twice") == 3, "combinational outputs follow at once"
        s.step(5)
        assert s.look("total") == 15 and s.look("wide") == 15 << 90 & (1 << 100) - 1
        s.poke("i", -1)
        s.step()
        assert s.look() == {"clk": 0, "rst": 0, "i": 255, "total": 14, "twice": 14 + 255, "at": 0, "past": 0,
                            "wide": 14 << 90 & (1 << 100) - 1}
        s.reset()
        assert s.look("total") == 0


def test_internals_and_memories_can_be_read(summer):
    with scope.open(summer) as s:
        assert [s.look("history", i) for i in range(4)] == [7, 7, 7, 0]
        s.poke(i=1)
        s.step(6)
        assert [s.look("history", i) for i in range(7)] == [0, 1, 2, 3, 4, 5, 0]
        assert s.look("steps") == 6
        s.poke(at=5)
        assert s.look("past") == 5
        assert s.signals("st*") == ["steps"]
        with pytest.raises(ScopeError, match=r"history has 16 words; an index is 0..15, not 16"):
            s.look("history", 16)
        with pytest.raises(ScopeError, match="steps has 1 word; an index is not wanted, not 0"):
            s.look("steps", 0)


def test_two_scopes_on_the_same_block_are_apart(summer):
    with scope.open(summer) as a, scope.open(summer) as b:
        a.poke(i=1)
        b.poke(i=2)
        a.step(3)
        b.step(3)
        assert (a.look("total"), b.look("total"), a.look("steps")) == (3, 6, 3)


def test_a_wave_holds_the_values(summer, tmp_path):
    path = tmp_path / "summer.vcd"
    with scope.open(summer) as s:
        s.wave(path)
        s.poke(i=0b1011)
        s.step(2)
    text = path.read_text()
    assert "$var" in text and " total " in text and "b00010110" in text


# Of C++, Verilog and Verilator: each means something to one of the programs between the block and the prompt.
WORDS = ("double", "class", "int", "new", "delete", "this", "super", "operator", "template", "auto", "and", "xor",
         "bool", "long", "module", "wire", "reg", "begin", "always", "input", "logic", *sorted(scope_build.MEMBERS),
         "VL_IN", "TOP", "a__b", "a___b", "a__02Eb", "a__DOT__b", "x_", "X")


class Words(wiring.Component):
    """Ports and registers with names that are words of other languages."""

    def __init__(self):
        super().__init__({name: In(8) for name in WORDS} | {f"{name}_o": Out(8) for name in WORDS})

    def elaborate(self, platform):
        m = Module()
        for name in WORDS:
            register = Signal(8, name=f"{name}_r")
            m.d.sync += register.eq(getattr(self, name))
            m.d.comb += getattr(self, f"{name}_o").eq(register)
        return m


def test_ports_may_have_any_name():
    with scope.open(Words()) as s:
        for number, name in enumerate(WORDS, 1):
            s.poke(name, number)
        s.step()
        assert s.look() == {"clk": 0, "rst": 0} | {name: i for i, name in enumerate(WORDS, 1)} | {
            f"{name}_o": i for i, name in enumerate(WORDS, 1)}


def test_the_example_of_the_readme():
    command = re.search(r"python -m lepton_sim.scope (\S+)", README.read_text())[1]
    assert command in scope.__doc__
    for text in re.findall(r"lepton_hdl[\w.]*:\w+[^\n`]*", scope.__doc__):
        name, *parameters = text.split()
        scope.find(name, **dict(parameter.split("=") for parameter in parameters))
    with scope.open(command) as s:
        assert s.look("double") == 0
        s.poke(valid=1, value=-300, low=-128, high=127)
        s.step(20)
        assert s.look("y") == s.look()["y"]


def blocks():
    """One instance of every block class that the chip with its controller is made of."""
    found = {}

    def walk(block):
        block = getattr(block, "_elaboratable_", block)  # behind a DomainRenamer
        if type(block).__module__.startswith("lepton_hdl"):
            found.setdefault(f"{type(block).__module__}:{type(block).__name__}", block)
        module = block.elaborate(None) if hasattr(block, "elaborate") else block
        for part in [*getattr(module, "_named_submodules", {}).values(), *getattr(module, "_anon_submodules", [])]:
            walk(part[0] if isinstance(part, tuple) else part)

    walk(Chip(PRESETS["tiny"].with_(controller=True), [0x13] * 64))
    return found


class AllPorts(wiring.Component):
    """A port of every name that a port of one of the chip's blocks has."""

    def __init__(self, names):
        self.names = names
        super().__init__({name: In(1) for name in names} | {"all_of_them": Out(len(names))})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.all_of_them.eq(Cat(getattr(self, name) for name in self.names))
        return m


def test_every_port_of_the_chips_blocks_can_be_used():
    """Their names are what opening a block depends on: one build has those of all, where 47 would take a quarter of
    an hour."""
    found = blocks()
    assert len(found) > 40
    names = sorted({name for block in found.values() for name in _ports(block)})
    with scope.open(AllPorts(names)) as s:
        assert {*s.look()} == {*names, "clk", "rst", "all_of_them"}
        for position, name in enumerate(names):
            s.poke(name, 1)
            s.step()
            assert s.look("all_of_them") == (2 << position) - 1


@pytest.mark.parametrize("name", ["lepton_hdl.control.semaphores:Semaphores", "lepton_hdl.dma.watchdog:Watchdog"])
def test_blocks_of_the_chip_open(name):
    block = blocks()[name]
    with scope.open(block) as s:
        assert {*s.look()} == {*_ports(block), "clk", "rst"}
        for port in s._inputs:
            s.poke(port, 0)


def test_errors_name_what_there_is(summer):
    with scope.open(summer) as s:
        with pytest.raises(ScopeError, match="inputs are at, clk, i, rst, not 'total'"):
            s.poke(total=1)
        with pytest.raises(ScopeError, match="i is 8 bits wide; 256 does not fit"):
            s.poke(i=256)
        with pytest.raises(ScopeError, match=r"there is no signal 'tot'; did you mean total\?"):
            s.look("tot")
    with scope.open(Inverter()) as s:
        s.poke(i=5)
        assert s.look("o") == 10
        with pytest.raises(ScopeError, match="the block has no clock"):
            s.step()


@pytest.mark.parametrize(("name", "parameters", "text"), [
    ("Summer", {}, "a block must be named package.module:Class"),
    ("lepton_hdl.nothing:Block", {}, "there is no block 'lepton_hdl.nothing:Block': No module named"),
    (":Block", {}, "there is no block ':Block': Empty module name"),
    ("lepton_hdl.chip:Chip", {"config": "huge"}, "config must be one of"),
    ("tests.sim.test_scope:Picky", {}, "tests.sim.test_scope:Picky cannot be made: it has a reason"),
    ("tests.sim.test_scope:README", {}, "README"),
    ("tests.sim.test_scope:Nothing", {}, "there is no block 'tests.sim.test_scope:Nothing'"),
    ("tests.sim.test_scope:Summer", {"height": 2}, "Summer does not take these parameters: .*height"),
    ("tests.sim.test_scope:Summer", {"config": "huge"}, "config must be one of tiny, small, base, large, not 'huge'"),
])
def test_blocks_are_found_by_name_or_refused(name, parameters, text):
    with pytest.raises(ScopeError, match=text):
        scope.find(name, **parameters)
    gc.collect()  # Amaranth warns of the half-made block when it goes: let that be here, where it is expected


def test_the_prompt_works():
    command = [sys.executable, "-m", "lepton_sim.scope"]
    done = subprocess.run([*command, "tests.sim.test_scope:Summer", "width=8", "config=tiny"], text=True,
                          input="poke(i=4)\nstep(3)\nprint('total is', look('total'))\n", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "total is 12" in done.stdout
    done = subprocess.run([*command, "nowhere"], text=True, capture_output=True)
    assert done.returncode == 1 and "a block must be named package.module:Class" in done.stderr
