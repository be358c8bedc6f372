"""Yosys's text rewritten for Verilator. That the meaning stays, every test of hardware shows: all go through it."""

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton_sim.compile import Flags, verilate
from lepton_sim.simplify import simplify
from lepton_sim.verilog import generate


def module(*lines):
    return "module m(a, b);\n" + "".join(f"  {line}\n" for line in lines) + "endmodule\n"


@pytest.mark.parametrize("before, after", [
    ("assign y = $signed({ x[7], x[7], x[7:2] }) + $signed(2'h1);", "assign y = $signed(x[7:2]) + $signed(2'h1);"),
    ("assign y = $signed({ \\s$1 [7], \\s$1 [7:2] }) >>> n;", "assign y = $signed(\\s$1 [7:2]) >>> n;"),
    # not a sign extension: another bit, another signal
    ("assign y = $signed({ x[6], x[7:2] });", "assign y = $signed({ x[6], x[7:2] });"),
    ("assign y = $signed({ z[7], x[7:2] });", "assign y = $signed({ z[7], x[7:2] });"),
    ("assign y = { x[7], x[7], x[7], x };", "assign y = { { 3{ x[7] } }, x };"),
    ("assign y = c ? d : { \\s$1 [3], \\s$1 [3], \\s$1 [3] };", "assign y = c ? d : { { 3{ \\s$1 [3] } } };"),
    ("assign y = { x[7], x[7], x };", "assign y = { x[7], x[7], x };"),
    ("assign y = { x[1], x[11], x[1], x[1] };", "assign y = { x[1], x[11], x[1], x[1] };"),
])
def test_sign_extensions(before, after):
    assert simplify(module(before)) == module(after)


@pytest.mark.parametrize("declared, after", [
    ("wire [7:0] x;", "assign y = $signed(x) + $signed(z);"),
    ("wire [8:0] x;", "assign y = $signed({ x[7], x[7], x }) + $signed(z);"),  # x[7] is not its sign
])
def test_a_whole_signal_with_copies_of_its_sign(declared, after):
    before = "assign y = $signed({ x[7], x[7], x }) + $signed(z);"
    assert simplify(module(declared, before)) == module(declared, after)


def test_joined_targets_become_one_assignment_each():
    declared = ["wire [41:0] \\$9 ;", "output [3:0] y;", "reg z = 1'h0;"]
    assert simplify(module(*declared, "assign { \\$9 [41], \\$9 [39:2], y, z } = a + b;")) == module(
        *declared,
        "wire [43:0] lepton_joined_0 = a + b;",
        "assign \\$9 [41]  = lepton_joined_0[43:43];",
        "assign \\$9 [39:2]  = lepton_joined_0[42:5];",
        "assign y  = lepton_joined_0[4:1];",
        "assign z  = lepton_joined_0[0:0];")


def test_widths_are_those_of_the_same_module():
    joined = "assign { x, y } = a;"
    text = module("wire [3:0] x;", "wire y;", joined) + module("wire [1:0] x;", "wire y;", joined)
    assert "wire [4:0] lepton_joined_0 = a;" in simplify(text) and "wire [2:0] lepton_joined_1 = a;" in simplify(text)
    unknown = module("wire y;", joined)
    assert simplify(unknown) == unknown


class HalfRoundedUp(wiring.Component):
    """The step of `lepton_hdl.tensor.rounding` whose sign bits Yosys joins with the bit that is dropped."""

    value: In(signed(31))
    out: Out(signed(32))
    sign: Out(1)

    def elaborate(self, platform):
        m = Module()
        half = ((self.value >> 5) + 1) >> 1
        m.d.comb += [self.out.eq(half), self.sign.eq(half < 0)]
        return m


def test_verilator_sees_no_loop(tmp_path):
    """A combinational loop that is none costs a tenth of the speed (docs/decisions/08)."""
    verilate(generate(HalfRoundedUp(), "half"), "half", tmp_path, Flags(("-Werror-UNOPTFLAT",)))
