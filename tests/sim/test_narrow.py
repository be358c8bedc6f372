"""Wires declared as wide as they are used. That the meaning stays, every test of hardware shows: all go through it."""

import pytest
from lepton_sim.narrow import narrow


def module(*lines):
    return "module m(a, b);\n" + "".join(f"  {line}\n" for line in lines) + "endmodule\n"


def test_a_sum_loses_the_bits_that_nothing_reads():
    assert narrow(module(
        "wire [32:0] \\s$1 ;", "assign \\s$1  = $signed(a) + $signed(b);", "assign y = \\s$1 [31:0];")) == module(
        "wire [31:0] \\s$1 ;", "assign \\s$1  = $signed(a) + $signed(b);", "assign y = \\s$1 ;")


def test_the_highest_bit_that_is_read_decides():
    before = ["wire [32:0] s;", "assign s = a * b;", "assign y = s[7:4];", "assign z = s[11];", "q <= s[3:0];"]
    assert narrow(module(*before)) == module("wire [11:0] s;", *before[1:])


def test_a_chain_becomes_one_of_equal_widths():
    text = narrow(module(
        "wire [32:0] s;", "wire [32:0] t;", "assign s = $signed(a) + $signed(b);",
        "assign t = $signed(s[31:0]) - $signed(b);", "assign y = t[31:0];"))
    assert text == module(
        "wire [31:0] s;", "wire [31:0] t;", "assign s = $signed(a) + $signed(b);",
        "assign t = $signed(s) - $signed(b);", "assign y = t;")


@pytest.mark.parametrize("lines", [
    ["wire [8:0] s;", "assign s = a + b;", "assign y = s;"],  # all of it is read
    ["wire [8:0] s;", "assign s = a + b;", "assign y = s[8:1];"],  # its highest bit is
    ["wire [8:0] s;", "assign s = a >> b;", "assign y = s[7:0];"],  # low bits of a shift come from high ones
    ["wire [8:0] s;", "assign s = a + b;", "assign s = c;", "assign y = s[7:0];"],  # driven elsewhere, too
    ["wire [8:0] s;", "assign s = a + b;", "sub sub (", "  .x(s)", ");", "assign y = s[7:0];"],
    ["wire [8:0] s;", "assign s = a + (b > c);", "assign y = s[7:0];"],  # not a plain operand
    ["output [8:0] s;", "wire [8:0] t;", "assign s = a + b;", "assign y = s[7:0];"],  # a port keeps its width
])
def test_everything_else_stays(lines):
    assert narrow(module(*lines)) == module(*lines)


def test_modules_do_not_see_each_other():
    one = module("wire [8:0] s;", "assign s = a + b;", "assign y = s[7:0];")
    other = module("wire [8:0] s;", "assign s = a + b;", "assign y = s;")
    assert narrow(one + other).endswith(other)
