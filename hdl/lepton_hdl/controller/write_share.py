"""Lets the copy engine write to memory through the port that STORE uses."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig

from ..dma.queue import Queue
from ..interfaces import WriteClientSignature

OPEN_SEGMENTS = 16  # segments of either client that are not answered


class WriteShare(wiring.Component):
    """Two `clients` in front of one write `port`: segments take turns, and each one's beats and response follow it.

    Nothing is delayed while one client is silent, unless OPEN_SEGMENTS are not answered.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "clients": In(WriteClientSignature(config.bus_bytes)).array(2),
            "port": Out(WriteClientSignature(config.bus_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        port, clients = self.port, self.clients
        shift = exact_log2(self.config.bus_bytes)
        beats = 33 - shift
        m.submodules.filling = filling = Queue(data.StructLayout({"owner": 1, "beats": beats}), OPEN_SEGMENTS)
        m.submodules.waiting = waiting = Queue(1, OPEN_SEGMENTS)

        turn, chosen, room, taken = Signal(), Signal(), Signal(), Signal()
        offered = Signal(2)
        m.d.comb += [
            offered.eq(clients[0].segment.valid | clients[1].segment.valid << 1),
            room.eq(filling.i.ready & waiting.i.ready),
        ]
        # The one that is chosen stays chosen until it is taken: a stream must not change its mind.
        locked, locked_to = Signal(), Signal()
        m.d.comb += chosen.eq(offered[1] & (~offered[0] | turn))
        with m.If(locked):
            m.d.comb += chosen.eq(locked_to)
        m.d.comb += taken.eq(port.segment.valid & port.segment.ready)
        m.d.sync += [locked.eq(port.segment.valid & ~port.segment.ready), locked_to.eq(chosen)]
        with m.If(taken):
            m.d.sync += turn.eq(~chosen)
        for i, client in enumerate(clients):
            with m.If(chosen == i):
                m.d.comb += [
                    port.segment.valid.eq(client.segment.valid & room), port.segment.payload.eq(client.segment.payload),
                    client.segment.ready.eq(port.segment.ready & room),
                ]
        segment = port.segment.p
        m.d.comb += [
            filling.i.valid.eq(taken), filling.i.p.owner.eq(chosen),
            filling.i.p.beats.eq((segment.length + segment.address[:shift] + (1 << shift) - 1) >> shift),
            waiting.i.valid.eq(taken), waiting.i.payload.eq(chosen),
        ]

        sent, count, final = Signal(), Signal(beats), Signal()
        m.d.comb += [sent.eq(port.beat.valid & port.beat.ready), final.eq(count + 1 == filling.o.p.beats),
                     filling.o.ready.eq(sent & final)]
        with m.If(sent):
            m.d.sync += count.eq(count + 1)
            with m.If(final):
                m.d.sync += count.eq(0)
        for i, client in enumerate(clients):
            with m.If(filling.o.valid & (filling.o.p.owner == i)):
                m.d.comb += [port.beat.valid.eq(client.beat.valid), port.beat.payload.eq(client.beat.payload),
                             client.beat.ready.eq(port.beat.ready)]
            m.d.comb += [client.response.payload.eq(port.response.payload),
                         client.response.valid.eq(port.response.valid & (waiting.o.payload == i))]
        m.d.comb += waiting.o.ready.eq(port.response.valid)
        return m
