"""The AXI4 read manager: segments of several clients become bursts, beats find their way back."""

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import ChipConfig

from ..axi import Axi4Signature, Burst, Resp
from ..interfaces import ReadClientSignature
from .queue import Queue
from .watchdog import Watchdog

MAX_BEATS = 256  # of an AXI4 INCR burst (IHI 0022, A3.4.1)
BOUNDARY = 4096  # bytes that a burst must not cross (IHI 0022, A3.4.1)

# No further burst is asked for while this many beats are on their way. It hides latencies of up
# to as many cycles, and bounds how long a short segment of one client (a command) waits behind long ones of another.
READ_AHEAD = 256


class ReadSignature(wiring.Signature):
    """The AR and R channels of `Axi4Signature`."""

    def __init__(self, data_bytes: int):
        members = Axi4Signature(data_bytes).members
        super().__init__({name: member for name, member in members.items() if name.startswith(("ar", "r"))})


class ReadPort(wiring.Component):
    """Reads segments for `clients` clients, served in turn, one burst each.

    A segment becomes INCR bursts of whole beats that cross no 4 KiB boundary; at most
    `config.outstanding` are in flight. Beats come back in order; one that its client does not take
    stalls the channel. The first beat of a segment has the segment's own address, the others that of their lowest byte.

    `discard`, by client: the client has been reset. Nothing more is asked for it, its bursts on the bus are read to
    their end and dropped, and until then it is `stale` and its new segments wait. `open`: a client has a segment that
    is not finished, or is stale. `busy`: any client has.

    `timed_out`: `timeout` cycles (0: never) have passed with a burst outstanding, without a handshake on AR and
    without a beat on R, taken or waiting for its client.
    `broken`: RLAST came on another beat than ARLEN says, or a beat that no accepted burst asked for; what is
    read from then on is answered with SLVERR. Both stay until `restart`, as in `Watchdog`; `failed_address` is that of
    the oldest missing beat. `beat_transferred` pulses for every beat that goes to a client.
    """

    def __init__(self, config: ChipConfig, clients: int):
        if clients < 1:
            raise ValueError(f"a ReadPort needs at least 1 client, not {clients!r}")
        self.config = config
        self.count = clients
        # Bursts end where their length or 4 KiB do, whichever is finer.
        self._limit = min(MAX_BEATS, BOUNDARY // config.bus_bytes)
        super().__init__({
            "clients": In(ReadClientSignature(config.bus_bytes)).array(clients),
            "bus": Out(ReadSignature(config.bus_bytes)),
            "discard": In(clients),
            "stale": Out(clients),
            "open": Out(clients),
            "timeout": In(32),
            "restart": In(1),
            "timed_out": Out(1),
            "broken": Out(1),
            "failed_address": Out(64),
            "busy": Out(1),
            "beat_transferred": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.count
        burst_layout = data.StructLayout({
            "client": range(max(2, count)), "final": 1, "last": range(self._limit), "address": 64})
        m.submodules.order = order = Queue(burst_layout, max(2, self.config.outstanding))
        m.submodules.watchdog = watchdog = Watchdog()
        bus = self.bus
        ended = Signal(count)  # the last beat of a burst of each client is transferred
        waiting = Signal(count)  # something is left of each client's segment

        in_flight = Signal(range(READ_AHEAD + self._limit + 1))  # beats that were asked for and have not come
        issue, burst = self._issue_bursts(m, order, waiting, ended, in_flight)

        # Beats of the oldest burst. A burst crosses no 4 KiB boundary, so only the low bits of the address count.
        shift = exact_log2(self.config.bus_bytes)
        oldest = order.o.p
        index = Signal(range(self._limit))
        beat_address = Signal(64)
        transferred = Signal()
        last = Signal()
        unasked = Signal()
        violation = Signal()
        held = Signal()
        position = exact_log2(BOUNDARY)
        m.d.comb += beat_address.eq(oldest.address)
        with m.If(index != 0):
            low = (oldest.address[shift:position] + index)[:position - shift]
            m.d.comb += beat_address.eq(Cat(Const(0, shift), low, oldest.address[position:]))
        # The chip counts the beats itself: what a client gets has the right length whatever RLAST says.
        m.d.comb += [
            last.eq(index == oldest.last),
            transferred.eq(bus.rvalid & bus.rready & order.o.valid),
            unasked.eq(order.level <= bus.arvalid),  # the newest burst may not have been accepted yet
            violation.eq(bus.rvalid & (unasked | (bus.rlast != last) | bus.rid)),
            # The client sees such a beat a cycle after the job controller has the cause.
            held.eq(violation & ~watchdog.broken),
            order.o.ready.eq(transferred & last),
            self.busy.eq(waiting.any() | order.o.valid),
        ]
        with m.If(~order.o.valid):
            m.d.comb += bus.rready.eq(1)  # a beat that nothing asked for must not stay and become data
        with m.If(transferred):
            m.d.sync += index.eq(index + 1)
            with m.If(last):
                m.d.sync += index.eq(0)
        with m.If(issue | transferred):
            added = Signal.like(burst)
            with m.If(issue):
                m.d.comb += added.eq(burst)
            m.d.sync += in_flight.eq(in_flight + added - transferred)
        for i in range(count):
            self._give_beats(m, i, order.o, beat_address, transferred, last, ended, held, watchdog.broken)

        m.d.comb += [
            watchdog.limit.eq(self.timeout),
            watchdog.waiting.eq(order.o.valid),
            # A beat that is offered to its client is memory's answer: that the client cannot take it yet, as LOAD
            # during a long FILL, is not memory's fault, and passes.
            watchdog.progress.eq((bus.arvalid & bus.arready) | (bus.rvalid & order.o.valid)),
            watchdog.violation.eq(violation),
            watchdog.restart.eq(self.restart),
            watchdog.address.eq(beat_address),
            self.timed_out.eq(watchdog.expired),
            self.broken.eq(watchdog.broken),
            self.failed_address.eq(watchdog.failed_address),
        ]
        return m

    def _issue_bursts(self, m, order, waiting, ended, in_flight):
        """Segments become bursts on AR. Gives `issue` (a burst is issued) and its beats."""
        beat_bytes = self.config.bus_bytes
        count = self.count
        limit = self._limit
        shift = exact_log2(beat_bytes)
        bus = self.bus

        # What is left of each client's segment.
        address = Array(Signal(64, name=f"address{i}") for i in range(count))
        beats = Array(Signal(33 - shift, name=f"beats{i}") for i in range(count))

        # The next client in turn that has something left.
        turn = Signal(range(max(2, count)))
        chosen = Signal(range(max(2, count)))
        with m.Switch(turn):
            for last in range(count):
                with m.Case(last):
                    for i in reversed(range(count)):
                        candidate = (last + 1 + i) % count
                        with m.If(waiting[candidate]):
                            m.d.comb += chosen.eq(candidate)

        # One burst: up to the boundary or the end of the segment.
        start = Signal(64)
        room = Signal(range(limit + 1))
        left = Signal(33 - shift)
        burst = Signal(range(limit + 1))
        final = Signal()
        issue = Signal()
        m.d.comb += [
            start.eq(address[chosen]),
            left.eq(beats[chosen]),
            room.eq(limit - start[shift:shift + exact_log2(limit)]),
            final.eq(left <= room),
            burst.eq(room),
            issue.eq(waiting.any() & (~bus.arvalid | bus.arready) & order.i.ready & (in_flight < READ_AHEAD)
                     & (order.level < self.config.outstanding)),
            order.i.valid.eq(issue),
            order.i.p.client.eq(chosen),
            order.i.p.final.eq(final),
            order.i.p.last.eq(burst - 1),
            order.i.p.address.eq(start),
            bus.arid.eq(0),
            bus.arsize.eq(shift),
            bus.arburst.eq(Burst.INCR),
        ]
        with m.If(final):
            m.d.comb += burst.eq(left)
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(issue):
            m.d.sync += [
                turn.eq(chosen),
                bus.arvalid.eq(1),
                bus.araddr.eq(Cat(Const(0, shift), start[shift:])),
                bus.arlen.eq(burst - 1),
            ]
        for i, client in enumerate(self.clients):
            segment = client.segment
            issues = Signal(name=f"issues{i}")
            refused = self.discard[i] | self.stale[i]
            m.d.comb += [
                issues.eq(issue & (chosen == i)),
                segment.ready.eq((~waiting[i] | (issues & final)) & ~refused),
            ]
            with m.If(issues):
                m.d.sync += [
                    address[i].eq((start[shift:] + burst) << shift),
                    beats[i].eq(left - burst),
                    waiting[i].eq(~final),
                ]
            with m.If(segment.valid & segment.ready):
                m.d.sync += [
                    waiting[i].eq(1),
                    address[i].eq(segment.p.address),
                    beats[i].eq((segment.p.length + segment.p.address[:shift] + beat_bytes - 1) >> shift),
                ]
            with m.If(self.discard[i]):
                m.d.sync += waiting[i].eq(0)
            self._count_bursts(m, i, issues, ended[i], waiting[i])
        return issue, burst

    def _give_beats(self, m, i, oldest, beat_address, transferred, last, ended, held, broken):
        """The beats of the burst `oldest` go to client `i`, if it is the client's."""
        bus = self.bus
        beat = self.clients[i].beat
        mine = Signal(name=f"mine{i}")
        worst = Signal(Resp, name=f"worst{i}")
        m.d.comb += [
            mine.eq(oldest.valid & (oldest.p.client == i)),
            ended[i].eq(mine & transferred & last),
            beat.valid.eq(bus.rvalid & mine & ~held & ~self.stale[i]),
            beat.p.data.eq(bus.rdata),
            beat.p.last.eq(last & oldest.p.final),
            beat.p.address.eq(beat_address),
            beat.p.resp.eq(worst),
        ]
        with m.If(bus.rresp > worst.as_value()):
            m.d.comb += beat.p.resp.eq(bus.rresp)
        with m.If(broken & ~bus.rresp[1] & ~worst.as_value()[1]):
            m.d.comb += beat.p.resp.eq(Resp.SLVERR)
        with m.If(mine):
            m.d.comb += [
                bus.rready.eq((beat.ready & ~held) | self.stale[i]),
                self.beat_transferred.eq(transferred & ~self.stale[i]),
            ]
        with m.If(beat.valid & beat.ready):
            m.d.sync += worst.eq(beat.p.resp)
            with m.If(beat.p.last):
                m.d.sync += worst.eq(Resp.OKAY)
        with m.If(self.discard[i]):
            m.d.sync += worst.eq(Resp.OKAY)

    def _count_bursts(self, m, i, issues, ended, waiting):
        """The bursts of client `i` on the bus: while there are any after a discard, it is stale."""
        bursts = Signal(range(max(2, self.config.outstanding) + 1), name=f"bursts{i}")
        following = Signal.like(bursts, name=f"following{i}")
        m.d.comb += [
            following.eq(bursts + issues - ended),
            self.open[i].eq(waiting | (bursts != 0)),
        ]
        with m.If(issues | ended):
            m.d.sync += bursts.eq(following)
        with m.If(self.discard[i] | self.stale[i]):
            m.d.sync += self.stale[i].eq(following != 0)
