"""The program fetcher: three command streams from memory, through one read client."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Engine, ErrorCode
from lepton.arch.commands import ENGINE_RECORDS

from ..axi import Resp
from ..interfaces import REGION_TABLE, ReadClientSignature
from .faults import fault_stream

# Commands asked for ahead of the one in the repeater. Five hide the 64 cycles of memory latency (D8) as long as
# commands take 13 cycles or more.
QUEUE_DEPTH = 5

# Offsets of command streams, and the base of their region, are multiples of this; it is the widest bus,
# so a command always starts at the start of a beat.
ALIGNMENT = 64

# Where the streams lie in region PROGRAM, by engine.
PROGRAM_TABLE = data.ArrayLayout(data.StructLayout({"offset": 32, "count": 32}), len(Engine))


class ProgramFetcher(wiring.Component):
    """Starts when `active` rises after a reset: checks all three streams against the region, one a cycle,
    then keeps the queues full.

    Every segment is one command and is asked for only when its queue has room for all of its beats, so a beat is
    never stalled. The queues hold beats, not commands: one memory of the bus's width for each engine, from which the
    repeaters take the words of a command one by one. With `halt` or after a fault nothing new is asked for; beats that
    are on their way are taken and dropped. `quiet`: none is on its way.

    Faults: ILLEGAL_FIELD (offset or region not aligned; address = start of the stream), MEMORY_BOUNDS (index and
    address of the first command beyond the region), AXI_SLVERR, AXI_DECERR (address of the beat).
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        super().__init__({
            "active": In(1),
            "halt": In(1),
            "quiet": Out(1),
            "programs": In(PROGRAM_TABLE),
            "region": In(REGION_TABLE.elem_shape),
            "read": Out(ReadClientSignature(config.bus_bytes)),
            "fault": Out(fault_stream()),
        } | {engine.name.lower(): Out(stream.Signature(8 * config.bus_bytes)) for engine in Engine})

    def elaborate(self, platform):
        m = Module()
        queues = []
        for engine, record in ENGINE_RECORDS.items():
            name = engine.name.lower()
            m.submodules[f"{name}_queue"] = queue = fifo.SyncFIFOBuffered(
                width=8 * self._config.bus_bytes, depth=QUEUE_DEPTH * self._words(record))
            wiring.connect(m, queue=queue.r_stream, outward=wiring.flipped(getattr(self, name)))
            queues.append(queue)

        # Which engine each segment on its way belongs to, oldest first; it cannot overflow, for there
        # are as many entries as commands in the queues.
        m.submodules.order = order = fifo.SyncFIFO(width=len(Engine).bit_length(), depth=QUEUE_DEPTH * len(Engine))

        address = Array(Signal(64, name=f"address_{e.name.lower()}") for e in Engine)
        remaining = Array(Signal(32, name=f"remaining_{e.name.lower()}") for e in Engine)
        faulty = Signal()
        with m.If(self.fault.valid):
            m.d.sync += faulty.eq(1)

        turn = Signal(Engine)
        running = Signal()
        with m.FSM():
            with m.State("WAIT"), m.If(self.active):
                m.next = "CHECK"
            with m.State("CHECK"):
                self._check(m, turn, address[turn], remaining[turn])
                m.d.sync += turn.eq(_after(turn))
                with m.If(turn == max(Engine)):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += running.eq(~faulty & ~self.halt)
        self._request(m, running, turn, queues, order, address, remaining)
        self._receive(m, faulty, queues, order)
        m.d.comb += self.quiet.eq(~self.read.segment.valid & (order.level == 0))
        return m

    def _words(self, record):
        """Words of a command."""
        return record.size // self._config.bus_bytes

    def _check(self, m, engine, address, remaining):
        """The stream of `engine` must be aligned and end inside the region."""
        program = Signal(PROGRAM_TABLE.elem_shape)
        shift = Signal(range(8))  # log2 of the command's bytes
        with m.Switch(engine):  # not an index: that would be a wide shift, in every simulated cycle
            for e, record in ENGINE_RECORDS.items():
                with m.Case(e):
                    m.d.comb += [program.eq(self.programs[e]), shift.eq(record.size.bit_length() - 1)]
        room = Signal(signed(33))
        fits = Signal(32)
        start = Signal(64)
        m.d.comb += [
            room.eq(self.region.size - program.offset),
            fits.eq(Mux(room < 0, 0, room[:32] >> shift)),
            start.eq(self.region.base + program.offset),
        ]
        m.d.sync += [address.eq(start), remaining.eq(program.count)]
        m.d.comb += self.fault.p.engine.eq(engine)
        low = ALIGNMENT.bit_length() - 1
        with m.If((program.count != 0) & Cat(program.offset[:low], self.region.base[:low]).any()):
            self._raise(m, ErrorCode.ILLEGAL_FIELD, start)
        with m.Elif(program.count > fits):
            self._raise(m, ErrorCode.MEMORY_BOUNDS, start + (fits << shift))
            m.d.comb += self.fault.p.index.eq(fits)

    def _raise(self, m, code, address):
        m.d.comb += [self.fault.valid.eq(1), self.fault.p.code.eq(code), self.fault.p.address.eq(address)]

    def _request(self, m, running, turn, queues, order, address, remaining):
        """One segment per command, the engines in turn as far as they want one."""
        segment = self.read.segment
        wants = []
        chosen = Signal(Engine)
        choose = Signal()
        for (engine, record), queue in zip(ENGINE_RECORDS.items(), queues, strict=True):
            words = self._words(record)
            # Words for which there is room, less those that have been asked for.
            room = Signal(range(queue.depth + 1), init=queue.depth, name=f"room_{engine.name.lower()}")
            taken = queue.r_rdy & queue.r_en
            m.d.sync += room.eq(room + taken - Mux(choose & (chosen == engine), words, 0))
            wants.append((room >= words) & (remaining[engine] != 0))
        with m.Switch(turn):
            for first in Engine:
                with m.Case(first):
                    for engine in reversed(_from(first)):  # the last assignment wins
                        with m.If(wants[engine]):
                            m.d.comb += chosen.eq(engine)

        m.d.comb += [choose.eq(running & Cat(wants).any() & (~segment.valid | segment.ready)),
                     order.w_data.eq(chosen), order.w_en.eq(choose)]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(choose):
            m.d.sync += [segment.valid.eq(1), turn.eq(_after(chosen))]
            with m.Switch(chosen):
                for engine, record in ENGINE_RECORDS.items():
                    with m.Case(engine):
                        m.d.sync += [
                            segment.p.address.eq(address[engine]), segment.p.length.eq(record.size),
                            address[engine].eq(address[engine] + record.size),
                            remaining[engine].eq(remaining[engine] - 1),
                        ]

    def _receive(self, m, faulty, queues, order):
        """Beats go to the queue of the segment's engine; from the first bad one on they go nowhere."""
        beat = self.read.beat
        bad = Signal()
        m.d.comb += [
            beat.ready.eq(order.r_rdy),
            order.r_en.eq(beat.valid & beat.p.last),
            bad.eq(beat.valid & beat.ready & beat.p.resp[1] & ~faulty),
        ]
        fetched = Array(Signal(32, name=f"fetched_{engine.name.lower()}") for engine in Engine)
        for engine, queue in zip(Engine, queues, strict=True):
            m.d.comb += [
                queue.w_data.eq(beat.p.data),
                queue.w_en.eq(beat.valid & order.r_rdy & (order.r_data == engine) & ~faulty & ~bad),
            ]
            with m.If(queue.w_en & beat.p.last):
                m.d.sync += fetched[engine].eq(fetched[engine] + 1)
        with m.If(bad):
            self._raise(m, Mux(beat.p.resp == Resp.DECERR, ErrorCode.AXI_DECERR, ErrorCode.AXI_SLVERR), beat.p.address)
            m.d.comb += [self.fault.p.engine.eq(order.r_data), self.fault.p.index.eq(fetched[order.r_data])]


def _from(first):
    """All engines, beginning with `first`."""
    return [Engine((first + i) % len(Engine)) for i in range(len(Engine))]


def _after(engine):
    return Mux(engine == max(Engine), 0, engine + 1)
