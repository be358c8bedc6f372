"""The three-level walk of a `Dma` command: which rows, in which order."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Dma

from ..layouts import layout
from ..views import View, add_parts, view_of

# A row: `offset` bytes from the start of its region, `local` byte address on chip, `bytes` long;
# `last` of its command.
ROW = data.StructLayout({"offset": 32, "local": 32, "bytes": 32, "last": 1})


class Walk(wiring.Component):
    """Emits the rows of a command, one a cycle, with no cycle lost between commands.

    The pseudo-code of `lepton.arch.commands.Dma` with its three loops; addresses are sums
    modulo 2**32 that advance by one addition per row, so no multiplier is needed. The counts
    must not be zero (a count of zero acts as 65536).
    """

    command: In(stream.Signature(layout(Dma)))
    row: Out(stream.Signature(ROW))

    def elaborate(self, platform):
        m = Module()
        view = view_of(platform)
        command = self.command.p
        offset = Signal(32)
        local = Signal(32)
        last = Signal()
        row_bytes = Signal(32)
        m.d.comb += [
            self.row.p.offset.eq(offset), self.row.p.local.eq(local),
            self.row.p.bytes.eq(row_bytes), self.row.p.last.eq(last),
        ]

        # Counters run down to 1; `count1` and `count2` start them again.
        count1 = Signal(16)
        count2 = Signal(16)
        left1 = Signal(16)
        left2 = Signal(16)
        left3 = Signal(16)
        # Registers that say whether a counter is at 1: which addition comes next must be known early.
        end1 = Signal()
        end2 = Signal()
        end3 = Signal()
        m.d.comb += [
            last.eq(end1 & end2 & end3),
            self.command.ready.eq(~self.row.valid | (self.row.ready & last)),
        ]
        advance = Signal()
        start = Signal()
        m.d.comb += [
            advance.eq(self.row.valid & self.row.ready),
            start.eq(self.command.valid & self.command.ready),
        ]
        with m.If(advance):
            m.d.sync += [left1.eq(left1 - 1), end1.eq(left1 == 2)]
            with m.If(end1):
                m.d.sync += [left1.eq(count1), end1.eq(count1 == 1), left2.eq(left2 - 1), end2.eq(left2 == 2)]
                with m.If(end2):
                    m.d.sync += [left2.eq(count2), end2.eq(count2 == 1), left3.eq(left3 - 1), end3.eq(left3 == 2)]
            with m.If(last):
                m.d.sync += self.row.valid.eq(0)

        for at, first, prefix in ((offset, command.offset, "mem"), (local, command.local, "local")):
            # Where the running pass of each outer loop began.
            begin2 = Signal(32, name=f"{prefix}_begin2")
            begin3 = Signal(32, name=f"{prefix}_begin3")
            steps = [Signal(32, name=f"{prefix}_step{level}") for level in (1, 2, 3)]
            base = Signal(32, name=f"{prefix}_base")
            step = Signal(32, name=f"{prefix}_step")
            following = Signal(32, name=f"{prefix}_following")
            with m.If(~end1):
                m.d.comb += [base.eq(at), step.eq(steps[0])]
            with m.Elif(~end2):
                m.d.comb += [base.eq(begin2), step.eq(steps[1])]
            with m.Else():
                m.d.comb += [base.eq(begin3), step.eq(steps[2])]
            m.d.comb += following.eq(
                base + step if view is not View.GATES else add_parts(m, [base, step], len(following), view))
            with m.If(advance):
                m.d.sync += at.eq(following)
                with m.If(end1):
                    m.d.sync += begin2.eq(following)
                    with m.If(end2):
                        m.d.sync += begin3.eq(following)
            with m.If(start):
                m.d.sync += [at.eq(first), begin2.eq(first), begin3.eq(first)]
                m.d.sync += [steps[i].eq(getattr(command, f"{prefix}_step{i + 1}")) for i in range(3)]

        with m.If(start):
            m.d.sync += [
                self.row.valid.eq(1), row_bytes.eq(command.row_bytes),
                count1.eq(command.count1), count2.eq(command.count2),
                left1.eq(command.count1), left2.eq(command.count2), left3.eq(command.count3),
                end1.eq(command.count1 == 1), end2.eq(command.count2 == 1), end3.eq(command.count3 == 1),
            ]
        return m
