"""The model's inputs are taken once a cycle, where no logic depends on the level of the clock."""

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton_hdl.controller.clock import ClockGate
from lepton_sim.compile import Flags, Generated, verilate
from lepton_sim.inputs import take_inputs_while_low
from lepton_sim.verilog import generate


class Sum(wiring.Component):
    """Logic from an input to an output, and a register behind it."""

    a: In(8)
    b: In(8)
    now: Out(8)
    later: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.now.eq(self.a + self.b)
        m.d.sync += self.later.eq(self.now)
        return m


class Gated(wiring.Component):
    """A register with a gated clock."""

    run: In(1)
    a: In(8)
    later: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate = gate = ClockGate()
        m.submodules.sum = total = DomainRenamer("awake")(Sum())
        m.domains.awake = ClockDomain(reset_less=True)
        m.d.comb += [
            gate.run.eq(self.run),
            ClockSignal("awake").eq(gate.clock),
            total.a.eq(self.a),
            total.b.eq(1),
            self.later.eq(total.later),
        ]
        return m


def generated(component, folder) -> Generated:
    return verilate(generate(component, "top"), "top", folder, Flags(("-O3",)))


def texts(model: Generated) -> dict[str, str]:
    return {path.name: path.read_text() for path in model.folder.glob("*.cpp")}


def test_eval_takes_inputs_only_while_the_clock_is_low(tmp_path):
    model = generated(Sum(), tmp_path)
    before = texts(model)
    assert take_inputs_while_low(model)
    changed = {name for name, text in texts(model).items() if text != before[name]}
    assert len(changed) == 1
    (name,) = changed
    assert texts(model)[name].replace("FirstIteration = !vlSelfRef.clk;", "FirstIteration = 1U;") == before[name]


@pytest.mark.parametrize("how", ["a gated clock", "another Verilator", "two places"])
def test_other_models_stay_as_they_are(tmp_path, how):
    model = generated(Gated() if how == "a gated clock" else Sum(), tmp_path)
    for path in tmp_path.glob("*.cpp"):
        if how == "another Verilator":
            path.write_text(path.read_text().replace("__VicoFirstIteration = 1U", "__VicoFirst = 1U"))
        if how == "two places":
            path.write_text(path.read_text() + "// vlSelfRef.__VicoFirstIteration = 1U;\n")
    before = texts(model)
    assert not take_inputs_while_low(model)
    assert texts(model) == before
