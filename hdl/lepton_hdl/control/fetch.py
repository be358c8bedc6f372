"""The program fetcher: four command streams from memory, through one read client."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
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


class _Check:
    """One stream and the region: the stream's `offset`, how many of its commands fit, and the error `code`. `wrong` and
    `fitting` keep the last two of the stream that was looked at last.
    """

    def __init__(self):
        self.offset = Signal(32, name="offset")
        self.fits = Signal(32, name="fits")
        self.code = Signal(ErrorCode, name="code")
        self.wrong = Signal(ErrorCode, name="wrong")
        self.fitting = Signal(32, name="fitting")


class ProgramFetcher(wiring.Component):
    """Starts when `active` rises after a reset: checks all streams against the region, one a cycle,
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

        # By engine: commands that have been asked for, and those of them whose last beat has not come.
        asked = [Signal(32, name=f"asked_{engine.name.lower()}") for engine in Engine]
        on_way = [Signal(range(QUEUE_DEPTH + 1), name=f"on_way_{engine.name.lower()}") for engine in Engine]
        # Bytes from the region's base to what is asked for, or to what is wrong. With the base it is added behind a
        # register: both additions in one cycle would be a long path.
        place = Signal(32)
        faulty = Signal()
        with m.If(self.fault.valid):
            m.d.sync += faulty.eq(1)

        turn = Signal(Engine)
        chosen = Signal(Engine)
        running = Signal()
        # By engine: some of its commands have not been asked for. Compared when the count changes: in the cycle that
        # chooses an engine the comparison would be a long path.
        more = Signal(len(Engine))
        looked_at = Signal(Engine)  # whose room is computed for the next cycle
        check = self._check(m, turn, looked_at)
        with m.FSM():
            with m.State("WAIT"):
                # The registers of the job have been written before it becomes active.
                m.d.comb += looked_at.eq(min(Engine))
                m.d.sync += more.eq(Cat(self.programs[engine].count != 0 for engine in Engine))
                with m.If(self.active):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += looked_at.eq(_after(turn))
                m.d.sync += [place.eq(check.offset), check.wrong.eq(check.code), check.fitting.eq(check.fits)]
                m.d.sync += turn.eq(_after(turn))
                with m.If(turn == max(Engine)):
                    m.next = "RUN"
                with m.If(check.code != ErrorCode.NONE):
                    m.d.sync += turn.eq(turn)
                    m.next = "WRONG-PLACE"
            with m.State("WRONG-PLACE"):
                with m.If(check.wrong == ErrorCode.MEMORY_BOUNDS), m.Switch(turn):
                    for engine, record in ENGINE_RECORDS.items():
                        with m.Case(engine):
                            m.d.sync += place.eq(place + (check.fitting << record.size.bit_length() - 1))
                m.next = "WRONG"
            with m.State("WRONG"):
                m.d.comb += self.fault.p.engine.eq(turn)
                self._raise(m, check.wrong, self.region.base + place)
                with m.If(check.wrong == ErrorCode.MEMORY_BOUNDS):
                    m.d.comb += self.fault.p.index.eq(check.fitting)
                m.next = "STOPPED"
            with m.State("STOPPED"):
                pass
            with m.State("RUN"):
                # After a job its registers may change, and must not start anything.
                m.d.comb += running.eq(self.active & ~faulty & ~self.halt)
        choose = self._request(m, running, turn, chosen, queues, order, more, place)
        with m.If(choose), m.Switch(chosen):
            for engine, record in ENGINE_RECORDS.items():
                with m.Case(engine):
                    # A sum for each engine: the choice comes late, and is made between sums.
                    program = self.programs[engine]
                    following = (asked[engine] + 1)[:32]
                    m.d.sync += [
                        place.eq(program.offset + (asked[engine] << record.size.bit_length() - 1)),
                        asked[engine].eq(following),
                        more[engine].eq(following != program.count),
                    ]
        ended = self._receive(m, faulty, queues, order, asked, on_way)
        for engine, count in zip(Engine, on_way, strict=True):
            m.d.sync += count.eq(count + (choose & (chosen == engine)) - ended[engine])
        m.d.comb += self.quiet.eq(~self.read.segment.valid & (order.level == 0))
        return m

    def _words(self, record):
        """Words of a command."""
        return record.size // self._config.bus_bytes

    def _check(self, m, engine, looked_at):
        """The stream of `engine` must be aligned and end inside the region, whose room it was `looked_at` for in the
        cycle before: a long path is cut between the room and what fits.
        """
        check = _Check()
        room = Signal(signed(33))
        count = Signal(32)
        with m.Switch(looked_at):  # not an index: that would be a wide shift, in every simulated cycle
            for e in Engine:
                with m.Case(e):
                    m.d.sync += [room.eq(self.region.size - self.programs[e].offset), count.eq(self.programs[e].count)]
        with m.Switch(engine):
            for e, record in ENGINE_RECORDS.items():
                with m.Case(e):
                    m.d.comb += check.offset.eq(self.programs[e].offset)
                    with m.If(room >= 0):
                        m.d.comb += check.fits.eq(room >> record.size.bit_length() - 1)
        low = ALIGNMENT.bit_length() - 1
        with m.If((count != 0) & Cat(check.offset[:low], self.region.base[:low]).any()):
            m.d.comb += check.code.eq(ErrorCode.ILLEGAL_FIELD)
        with m.Elif(count > check.fits):
            m.d.comb += check.code.eq(ErrorCode.MEMORY_BOUNDS)
        return check

    def _raise(self, m, code, address):
        m.d.comb += [self.fault.valid.eq(1), self.fault.p.code.eq(code), self.fault.p.address.eq(address)]

    def _request(self, m, running, turn, chosen, queues, order, more, place):
        """One segment per command, the engines in turn as far as they want one: `chosen` is next. High when it is asked
        for.
        """
        segment = self.read.segment
        wants = []
        choose = Signal()
        for (engine, record), queue in zip(ENGINE_RECORDS.items(), queues, strict=True):
            words = self._words(record)
            # Words for which there is room, less those that have been asked for.
            room = Signal(range(queue.depth + 1), init=queue.depth, name=f"room_{engine.name.lower()}")
            taken = queue.r_rdy & queue.r_en
            m.d.sync += room.eq(room + taken - Mux(choose & (chosen == engine), words, 0))
            wants.append((room >= words) & more[engine])
        with m.Switch(turn):
            for first in Engine:
                with m.Case(first):
                    for engine in reversed(_from(first)):  # the last assignment wins
                        with m.If(wants[engine]):
                            m.d.comb += chosen.eq(engine)

        m.d.comb += [choose.eq(running & Cat(wants).any() & (~segment.valid | segment.ready)),
                     order.w_data.eq(chosen), order.w_en.eq(choose),
                     segment.p.address.eq(self.region.base + place)]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(choose):
            m.d.sync += [segment.valid.eq(1), turn.eq(_after(chosen))]
            with m.Switch(chosen):
                for engine, record in ENGINE_RECORDS.items():
                    with m.Case(engine):
                        m.d.sync += segment.p.length.eq(record.size)
        return choose

    def _receive(self, m, faulty, queues, order, asked, on_way):
        """Beats go to the queue of the segment's engine; from the first bad one on they go nowhere. Gives, by engine,
        whether the last beat of a command comes.
        """
        beat = self.read.beat
        bad = Signal()
        ended = Signal(len(Engine))
        m.d.comb += [
            beat.ready.eq(order.r_rdy),
            order.r_en.eq(beat.valid & beat.p.last),
            bad.eq(beat.valid & beat.ready & beat.p.resp[1] & ~faulty),
        ]
        for engine, queue in zip(Engine, queues, strict=True):
            mine = beat.valid & order.r_rdy & (order.r_data == engine)
            m.d.comb += [queue.w_data.eq(beat.p.data), queue.w_en.eq(mine & ~faulty & ~bad),
                         ended[engine].eq(mine & beat.p.last)]
        with m.If(bad):
            self._raise(m, Mux(beat.p.resp == Resp.DECERR, ErrorCode.AXI_DECERR, ErrorCode.AXI_SLVERR), beat.p.address)
            m.d.comb += self.fault.p.engine.eq(order.r_data)
            first = Signal(32)
            late = Signal.like(on_way[0])
            with m.Switch(order.r_data):
                for engine in Engine:
                    with m.Case(engine):
                        m.d.comb += [first.eq(asked[engine]), late.eq(on_way[engine])]
            m.d.comb += self.fault.p.index.eq(first - late)
        return ended


def _from(first):
    """All engines, beginning with `first`."""
    return [Engine((first + i) % len(Engine)) for i in range(len(Engine))]


def _after(engine):
    return Mux(engine == max(Engine), 0, engine + 1)
