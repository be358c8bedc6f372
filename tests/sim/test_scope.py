"""The scope: poke, step, look at ports, internals and memories, waves; two blocks at once; a prompt."""

import gc
import subprocess
import sys

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from lepton_sim import scope
from lepton_sim.scope import ScopeError

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
        port, view = history.write_port(), history.read_port(domain="comb")
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
