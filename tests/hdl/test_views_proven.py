"""What a view computes is proven equal to what the simulator's view computes, for all values: Yosys' SAT solver finds
no difference between the two circuits.

- Blocks whose registers are the same in all views are proven whole: from equal registers, inputs and words of memories
  they give equal outputs and equal next registers, which is equality in all cycles.
- Blocks that multiply have other registers in other views, and products of 32 x 32 bits are beyond every free solver.
  The functions that they are made of (`lepton_hdl.views`) are proven with fewer bits, and their sums with all of them.
  The benches in `tests/hdl/tensor` and `tests/hdl/rows` run whole blocks on every view.
"""

import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import PRESETS
from lepton_hdl.dma.walk import Walk
from lepton_hdl.flow import memories
from lepton_hdl.flow.blocks import joined
from lepton_hdl.flow.verilog import TOP, elaborate
from lepton_hdl.flow.yosys import FlowError, yosys
from lepton_hdl.tensor.accumulators import Accumulators
from lepton_hdl.views import Digits, View, add, add_parts, recoded, split_sum_of_products, sum_of_products, view_of

SECONDS = 60  # of the solver; no proof here takes ten
PROVEN = "SAT proof finished - no model found: SUCCESS!"


class Circuit(wiring.Component):
    """`function(m, operands, view)` of signed operands of `widths` bits, as `bits` bits."""

    def __init__(self, widths, bits, function, view):
        self._function = function
        self._view = view
        self._names = [f"x{i}" for i in range(len(widths))]
        super().__init__({name: In(signed(width)) for name, width in zip(self._names, widths, strict=True)}
                         | {"y": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self._function(m, [getattr(self, name) for name in self._names], self._view))
        return m


def miter(other):
    """Commands that prove the module `other` equal to the module `simulated`."""
    return [f"miter -equiv -flatten -make_outputs simulated {other} miter", "hierarchy -top miter", "opt -full",
            "techmap", "opt -full", "abc -g AND,XOR", "opt_clean",
            f"sat -verify -timeout {SECONDS} -prove trigger 0 miter"]


def prove(folder, widths, bits, function):
    """Raises `FlowError` where the views differ for some operands, or no proof is found in `SECONDS`."""
    for name, view in (("simulated", View.SIMULATION), ("gates", View.GATES)):
        (folder / f"{name}.il").write_text(rtlil.convert(Circuit(widths, bits, function, view), name=name))
    return yosys(["read_rtlil simulated.il", "read_rtlil gates.il", "proc", *miter("gates")], folder)


def product(m, operands, view):
    return sum_of_products(m, [operands], len(operands[0]) + len(operands[1]), view)


def two_products(m, operands, view):
    a, b, c, d, offset = operands
    return add(split_sum_of_products(m, [(a, b), (c, d)], 9, view, [(2, Cat(offset))]), 9)


def product_by_digits(m, operands, view):
    a, b = operands
    return sum_of_products(m, [(a, Digits(len(b), recoded(b)) if view is View.GATES else b)], len(a) + len(b), view)


def total(m, operands, view):
    a, b, carry = operands
    return add_parts(m, [a, b], len(a), view, carry[0])


# Products of more bits are beyond the solver; `tests/hdl/test_views.py` compares those of 8 x 8 one by one.
PROOFS = {
    "6 x 6": ((6, 6), 12, product),
    "7 x 4": ((7, 4), 11, product),
    "two of 4 x 3 and an offset": ((4, 3, 4, 3, 2), 9, two_products),
    "6 x 6 by digits": ((6, 6), 12, product_by_digits),
    "sum of 32 bits": ((32, 20, 1), 32, total),  # an accumulator's
    "sum of 48 bits": ((48, 48, 1), 48, total),  # a result's of ROWS
    "sum of 64 bits": ((64, 64, 1), 64, total),  # a product's
}


@pytest.mark.parametrize("name", PROOFS)
def test_gates_are_equal(name, tmp_path):
    assert PROVEN in prove(tmp_path, *PROOFS[name])


def test_a_difference_is_found(tmp_path):
    """One pair of operands in 4 096 for which a product in gates is wrong."""
    def wrong(m, operands, view):
        a, b = operands
        return product(m, operands, view) ^ ((a == -27) & (b == 21) if view is View.GATES else 0)

    with pytest.raises(FlowError, match="Yosys failed"):
        prove(tmp_path, (6, 6), 12, wrong)


def whole(component, view, name, folder):
    """Yosys' commands that make the design `name`: a view of a component whose registers and memories are ports."""
    blocks, platform = elaborate(component, view)
    numbers = {}

    def renumbered(match):
        """Amaranth numbers equal names of a design by what else it has; here they count from 0 for each name."""
        own = numbers.setdefault(match[1], {})
        return f"{match[1]}${own.setdefault(match[2], len(own))}"

    (folder / f"{name}.il").write_text(re.sub(r"(\\[^\s$]+)\$(\d+)\b", renumbered, joined(blocks)))
    (folder / f"{name}.v").write_text("".join(map(memories.wrapper, platform.memories)))
    return [f"read_rtlil {name}.il", f"read_verilog -lib {name}.v", f"hierarchy -top {TOP}", "proc", "flatten",
            "opt_clean", "dffunmap", "expose -dff -evert-dff", "expose -evert t:lepton_memory*",
            "opt_clean", f"rename {TOP} {name}", f"design -stash {name}"]


def accumulators():
    return Accumulators(PRESETS["tiny"], signed(18))


def prove_whole(folder, block, view):
    """Raises `FlowError` where the next registers, outputs or accesses of memories of `block()` differ from the
    simulator's view."""
    return yosys([*whole(block(), View.SIMULATION, "simulated", folder), *whole(block(), view, "other", folder),
                  "design -copy-from simulated simulated", "design -copy-from other other",
                  *miter("other")], folder)


@pytest.mark.parametrize("view", [View.GATES, View.MULTIPLIERS])
@pytest.mark.parametrize("block", [Walk, accumulators])
def test_blocks_with_the_same_registers_are_equal(block, view, tmp_path):
    assert PROVEN in prove_whole(tmp_path, block, view)


def test_a_difference_in_a_register_is_found(tmp_path):
    """A counter that goes wrong at one of 65 536 values, far from its first."""
    class Counter(wiring.Component):
        def __init__(self):
            super().__init__({"y": Out(16)})

        def elaborate(self, platform):
            m = Module()
            wrong = (self.y == 43_210) if view_of(platform) is View.GATES else 0
            m.d.sync += self.y.eq(self.y + 1 + wrong)
            return m

    with pytest.raises(FlowError, match="Yosys failed"):
        prove_whole(tmp_path, Counter, View.GATES)
    assert PROVEN in prove_whole(tmp_path, Counter, View.MULTIPLIERS)
