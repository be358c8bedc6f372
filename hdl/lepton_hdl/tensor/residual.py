"""The residual reader: fetches residual words ahead of the rows that need them.

The tensor pipeline cannot stall, but the scratchpad may refuse a read for a
cycle. So residuals are fetched early into a queue, and the issue stage lets an
output row start only when its residual is there (`available`).
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig

from ..bounds import word_outside
from ..interfaces import WordReadSignature

# Rows between issue and residual add, plus the latency of a scratchpad read.
DEPTH = 32

WALK = data.StructLayout({"address": 32, "step_x": 32, "step_y": 32, "step_z": 32, "nx": 16, "ny": 16, "nz": 16})


class ResidualReader(wiring.Component):
    """Walks z, y, x over the residual of one command after another.

    Members
    -------
    start: a walk (byte addresses, counts >= 1); ready when the last one has been read.
    read: the scratchpad.
    claim: an output row was issued that will take a residual. available: one may be.
    take, word: the oldest residual, taken in the cycle in which it is used.
    out_of_bounds, bad_address: an address does not lie in the scratchpad; the reader stops there.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "start": In(stream.Signature(WALK)),
            "read": Out(WordReadSignature(config)),
            "claim": In(1),
            "available": Out(1),
            "take": In(1),
            "word": Out(8 * config.lanes),
            "out_of_bounds": Out(1),
            "bad_address": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = fifo.SyncFIFOBuffered(width=8 * self.config.lanes, depth=DEPTH)

        walk = Signal(WALK)
        running = Signal()
        address = Signal(32)
        row = Signal(32)
        plane = Signal(32)
        x = Signal(16)
        y = Signal(16)
        z = Signal(16)
        room = Signal(range(DEPTH + 1), init=DEPTH)  # places neither filled nor asked for
        unclaimed = Signal(range(DEPTH + 1))

        in_bounds = Signal()
        requested = Signal()
        arrived = Signal()
        m.d.comb += [
            in_bounds.eq(~word_outside(address, self.config.scratchpad_bytes, self.config.lanes)),
            self.read.request.valid.eq(running & in_bounds & (room != 0)),
            self.read.request.p.eq(address // self.config.lanes),
            requested.eq(self.read.request.valid & self.read.request.ready),
            self.out_of_bounds.eq(running & ~in_bounds),
            self.bad_address.eq(address),
            self.available.eq(unclaimed != 0),
            words.w_data.eq(self.read.data),
            words.w_en.eq(arrived),
            self.word.eq(words.r_data),
            words.r_en.eq(self.take),
            self.start.ready.eq(~running),
        ]
        m.d.sync += [
            arrived.eq(requested),
            room.eq(room - requested + self.take),
            # A word that arrives now can be read from the queue two cycles on, long before
            # the row that claims it comes to the residual add.
            unclaimed.eq(unclaimed + arrived - self.claim),
        ]

        with m.If(self.start.valid & self.start.ready):
            first = self.start.p
            m.d.sync += [
                walk.eq(first), running.eq(1),
                address.eq(first.address), row.eq(first.address), plane.eq(first.address),
                x.eq(0), y.eq(0), z.eq(0),
            ]
        with m.Elif(requested):
            next_row = Signal(32)
            next_plane = Signal(32)
            m.d.comb += [next_row.eq(row + walk.step_y), next_plane.eq(plane + walk.step_z)]
            with m.If(x != walk.nx - 1):
                m.d.sync += [x.eq(x + 1), address.eq(address + walk.step_x)]
            with m.Elif(y != walk.ny - 1):
                m.d.sync += [x.eq(0), y.eq(y + 1), address.eq(next_row), row.eq(next_row)]
            with m.Elif(z != walk.nz - 1):
                m.d.sync += [x.eq(0), y.eq(0), z.eq(z + 1),
                             address.eq(next_plane), row.eq(next_plane), plane.eq(next_plane)]
            with m.Else():
                m.d.sync += running.eq(0)
        return m
