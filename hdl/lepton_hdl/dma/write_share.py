"""What stands between the clients that write and the write port: turns, and the end of what a client leaves behind."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig

from ..interfaces import WriteClientSignature
from .queue import Queue
from .write_port import SEGMENTS_AHEAD


class WriteShare(wiring.Component):
    """Any number of `clients` in front of one write `port`: segments take turns, and each one's beats and response
    follow it. Nothing is delayed while one client is silent, unless `segments` segments are not answered.

    `discard`, by client: the client has been reset. Beats that its taken segments still owe are sent with no byte
    marked, so that no burst on the bus stays without its data and nothing more is written; the responses are dropped.
    Until the last of them the client is `stale` and its new segments wait. `open`: some segments are not answered.
    """

    def __init__(self, config: ChipConfig, clients: int):
        self.config = config
        self.count = clients
        # As many as the port holds: with fewer, segments of one burst each would not fill it.
        self.segments = max(2, config.outstanding) + SEGMENTS_AHEAD + 2
        super().__init__({
            "clients": In(WriteClientSignature(config.bus_bytes)).array(clients),
            "port": Out(WriteClientSignature(config.bus_bytes)),
            "discard": In(clients),
            "stale": Out(clients),
            "open": Out(clients),
        })

    def elaborate(self, platform):
        m = Module()
        port = self.port
        clients = self.clients
        shift = exact_log2(self.config.bus_bytes)
        beats = 33 - shift
        owner = range(max(2, self.count))
        m.submodules.filling = filling = Queue(data.StructLayout({"owner": owner, "beats": beats}), self.segments)
        m.submodules.waiting = waiting = Queue(owner, self.segments)

        chosen = Signal(owner)
        taken = Signal()
        room = Signal()
        offered = Signal(self.count)
        m.d.comb += [
            room.eq(filling.i.ready & waiting.i.ready),
            taken.eq(port.segment.valid & port.segment.ready),
            port.segment.valid.eq((offered & (1 << chosen)).any() & room),
            port.segment.p.eq(_pick(chosen, [client.segment.p for client in clients])),
        ]
        self._choose(m, chosen, offered, taken)
        for i, client in enumerate(clients):
            refused = self.discard[i] | self.stale[i]
            m.d.comb += [
                offered[i].eq(client.segment.valid & ~refused),
                client.segment.ready.eq(port.segment.ready & room & ~refused & (chosen == i)),
            ]
        segment = port.segment.p
        m.d.comb += [
            filling.i.valid.eq(taken), filling.i.p.owner.eq(chosen),
            filling.i.p.beats.eq((segment.length + segment.address[:shift] + (1 << shift) - 1) >> shift),
            waiting.i.valid.eq(taken), waiting.i.p.eq(chosen),
        ]

        sent = Signal()
        count = Signal(beats)
        final = Signal()
        given = Signal()  # the next beat is there
        missing = Signal()  # its client was reset and will not send it
        writer = filling.o.p.owner
        m.d.comb += [
            sent.eq(port.beat.valid & port.beat.ready),
            final.eq(count + 1 == filling.o.p.beats),
            filling.o.ready.eq(sent & final),
            given.eq(_pick(writer, [client.beat.valid for client in clients])),
            missing.eq(_pick(writer, [self.stale[i] for i in range(self.count)])),
            port.beat.valid.eq(filling.o.valid & (given | missing)),
            port.beat.p.data.eq(_pick(writer, [client.beat.p.data for client in clients])),
            port.beat.p.strobe.eq(
                _pick(writer, [client.beat.p.strobe for client in clients]) & ~missing.replicate(1 << shift)),
        ]
        with m.If(sent):
            m.d.sync += count.eq(count + 1)
            with m.If(final):
                m.d.sync += count.eq(0)
        m.d.comb += waiting.o.ready.eq(port.response.valid)
        for i, client in enumerate(clients):
            answered = Signal(name=f"answered{i}")
            m.d.comb += [
                client.beat.ready.eq(port.beat.ready & filling.o.valid & (writer == i) & ~self.stale[i]),
                answered.eq(port.response.valid & (waiting.o.p == i)),
                client.response.p.eq(port.response.p),
                client.response.valid.eq(answered & ~self.stale[i]),
            ]
            self._count_segments(m, i, taken & (chosen == i), answered)
        return m

    def _choose(self, m, chosen, offered, taken):
        """The client whose segment is shown. It stays chosen until it is taken: a stream must not change its mind."""
        if self.count == 1:
            return
        assert self.count == 2, "turns are for two clients"
        turn = Signal()
        locked = Signal()
        locked_to = Signal()
        m.d.comb += chosen.eq(offered[1] & (~offered[0] | turn))
        with m.If(locked):
            m.d.comb += chosen.eq(locked_to)
        m.d.sync += [locked.eq(self.port.segment.valid & ~self.port.segment.ready), locked_to.eq(chosen)]
        with m.If(taken):
            m.d.sync += turn.eq(~chosen)

    def _count_segments(self, m, i, taken, answered):
        """Client `i` is stale after a discard while any of its segments is not answered."""
        segments = Signal(range(self.segments + 1), name=f"segments{i}")
        following = Signal.like(segments, name=f"following{i}")
        m.d.comb += [following.eq(segments + taken - answered), self.open[i].eq(segments != 0)]
        with m.If(taken | answered):
            m.d.sync += segments.eq(following)
        with m.If(self.discard[i] | self.stale[i]):
            m.d.sync += self.stale[i].eq(following != 0)


def _pick(index, values):
    """The value at `index`; without any logic where there is only one."""
    return values[0] if len(values) == 1 else Mux(index, values[1], values[0])
