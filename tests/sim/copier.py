"""A small component with the chip's ports, to test the board: it copies memory, and misbehaves on request."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton_hdl.axi import Axi4LiteSignature, Axi4Signature, Resp

ID = 0x00
SOURCE = 0x04
TARGET = 0x08
BEATS = 0x0C
BURSTS = 0x10
START = 0x14
STATUS = 0x18
MODE = 0x1C
CONTROL = 0x20
READ_CYCLES = 0x24
FIRST_DATA = 0x28
FIRST_RESPONSE = 0x2C
STROBE = 0x34
IDENTITY = 0x434F5059


class Mode(enum.IntEnum):
    """What the copier does; all but the first two break a rule of AXI."""

    COPY = 0
    READ_ONLY = 1  # issue all reads as fast as they are taken
    DROP_VALID = 2
    CHANGE_ADDRESS = 3
    EARLY_LAST = 4
    BAD_SIZE = 5
    BAD_BURST = 6
    CHANGE_DATA = 7
    SPURIOUS_BVALID = 8
    DATA_FIRST = 9  # allowed: write data before its address
    NO_ANSWER = 10  # register reads are never answered


class _State:
    """The registers of a copier."""

    def __init__(self):
        self.source = Signal(32)
        self.target = Signal(32)
        self.beats = Signal(32)
        self.bursts = Signal(32)
        self.mode = Signal(32)
        self.strobe = Signal(32)
        self.status_done = Signal()
        self.worst = Signal(2)
        self.started = Signal()
        self.read_cycles = Signal(32)
        self.first_data = Signal(32)
        self.first_response = Signal(32)


class Copier(wiring.Component):
    """Copies BURSTS bursts of BEATS beats from SOURCE to TARGET, one at a time; raises `irq` when done.

    STATUS: bit 0 done, bits 2:1 worst response. READ_CYCLES: cycles from the first
    address taken to the last data. FIRST_DATA: from the first address taken to its
    first data. FIRST_RESPONSE: from the last write data to the response.
    """

    def __init__(self, bus_bytes: int):
        self.bus_bytes = bus_bytes
        super().__init__({"host": In(Axi4LiteSignature(14)), "memory": Out(Axi4Signature(bus_bytes)), "irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        state = _State()
        self._host_writes(m, state)
        self._host_reads(m, state)
        m.d.comb += self.irq.eq(state.status_done)
        self._copy(m, state)
        return m

    def _host_writes(self, m, state):
        """One access at a time, address and data in any order."""
        host = self.host
        address = Signal(14)
        data = Signal(32)
        have_address = Signal()
        have_data = Signal()
        write_now = Signal()
        m.d.comb += [host.awready.eq(~have_address), host.wready.eq(~have_data),
                     write_now.eq(have_address & have_data & ~host.bvalid)]
        with m.If(host.awvalid & host.awready):
            m.d.sync += [address.eq(host.awaddr), have_address.eq(1)]
        with m.If(host.wvalid & host.wready):
            m.d.sync += [data.eq(host.wdata), have_data.eq(1)]
        with m.If(host.bvalid & host.bready):
            m.d.sync += [host.bvalid.eq(0), have_address.eq(0), have_data.eq(0)]
        m.d.sync += state.started.eq(0)
        with m.If(write_now):
            m.d.sync += [host.bvalid.eq(1), host.bresp.eq(Resp.OKAY)]
            with m.Switch(address):
                for offset, name in ((SOURCE, "source"), (TARGET, "target"), (BEATS, "beats"), (BURSTS, "bursts"),
                                     (MODE, "mode"), (STROBE, "strobe")):
                    with m.Case(offset):
                        m.d.sync += getattr(state, name).eq(data)
                with m.Case(START):
                    m.d.sync += [state.started.eq(1), state.status_done.eq(0), state.worst.eq(0)]
                with m.Case(CONTROL):
                    pass
                with m.Default():
                    m.d.sync += host.bresp.eq(Resp.SLVERR)
        with m.If((state.mode == Mode.SPURIOUS_BVALID) & state.started):
            m.d.sync += host.bvalid.eq(1)

    def _host_reads(self, m, state):
        host = self.host
        m.d.comb += host.arready.eq(~host.rvalid)
        with m.If(host.arvalid & host.arready & (state.mode != Mode.NO_ANSWER)):
            m.d.sync += [host.rvalid.eq(1), host.rresp.eq(Resp.OKAY), host.rdata.eq(0)]
            with m.Switch(host.araddr):
                for offset, value in ((ID, IDENTITY), (SOURCE, state.source), (TARGET, state.target),
                                      (STATUS, Cat(state.status_done, state.worst)), (READ_CYCLES, state.read_cycles),
                                      (FIRST_DATA, state.first_data), (FIRST_RESPONSE, state.first_response)):
                    with m.Case(offset):
                        m.d.sync += host.rdata.eq(value)
                with m.Default():
                    m.d.sync += host.rresp.eq(Resp.SLVERR)
        with m.If(host.rvalid & host.rready):
            m.d.sync += host.rvalid.eq(0)

    def _copy(self, m, state):
        """A burst is read into a buffer, then written from it."""
        bus = self.memory
        m.submodules.buffer = buffer = Memory(shape=8 * self.bus_bytes, depth=256, init=[])
        fill = buffer.write_port()
        drain = buffer.read_port(domain="comb")
        issued = Signal(32)
        returned = Signal(32)
        written = Signal(32)
        index = Signal(9)
        timing = Signal()
        first_seen = Signal()
        response_timer = Signal(32)
        address_sent = Signal()
        step = state.beats * self.bus_bytes
        full = Signal(self.bus_bytes)
        m.d.comb += [
            full.eq(Mux(state.strobe == 0, ~0, state.strobe)),
            bus.arsize.eq(exact_log2(self.bus_bytes)), bus.arburst.eq(1), bus.arlen.eq(state.beats - 1),
            bus.awsize.eq(exact_log2(self.bus_bytes) - (state.mode == Mode.BAD_SIZE)),
            bus.awburst.eq(Mux(state.mode == Mode.BAD_BURST, 2, 1)), bus.awlen.eq(state.beats - 1),
            bus.rready.eq(1), bus.bready.eq(1),
            fill.addr.eq(index), fill.data.eq(bus.rdata), fill.en.eq(bus.rvalid),
            drain.addr.eq(index), bus.wdata.eq(drain.data), bus.wstrb.eq(full),
            bus.wlast.eq(index == state.beats - 1 - (state.mode == Mode.EARLY_LAST)),
        ]
        waited = Signal()  # a cycle with VALID and without READY has passed
        m.d.sync += waited.eq((bus.awvalid & ~bus.awready) | (bus.wvalid & ~bus.wready))
        with m.If(timing):
            m.d.sync += state.read_cycles.eq(state.read_cycles + 1)
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += [index.eq(index + 1), state.worst.eq(Mux(bus.rresp > state.worst, bus.rresp, state.worst))]
            with m.If(~first_seen):
                m.d.sync += [first_seen.eq(1), state.first_data.eq(state.read_cycles + 1)]
            with m.If(bus.rlast):
                m.d.sync += [index.eq(0), returned.eq(returned + 1)]
                with m.If((state.mode != Mode.READ_ONLY) | (returned == state.bursts - 1)):
                    m.d.sync += timing.eq(0)
        m.d.sync += response_timer.eq(response_timer + 1)
        with m.FSM():
            with m.State("IDLE"), m.If(state.started):
                m.d.sync += [issued.eq(0), returned.eq(0), written.eq(0), index.eq(0), state.read_cycles.eq(0),
                             first_seen.eq(0), timing.eq(0)]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += [bus.arvalid.eq(1), bus.araddr.eq(state.source + issued * step)]
                with m.If(bus.arready):
                    m.d.sync += issued.eq(issued + 1)
                    with m.If(~timing):
                        m.d.sync += timing.eq(1)
                    with m.If((state.mode != Mode.READ_ONLY) | (issued == state.bursts - 1)):
                        m.next = "COLLECT"
            with m.State("COLLECT"), m.If(returned == issued):
                m.d.sync += [index.eq(0), address_sent.eq(0)]
                m.next = "WRITE"
                with m.If(state.mode == Mode.READ_ONLY):
                    m.d.sync += state.status_done.eq(1)
                    m.next = "IDLE"
                with m.If(state.mode == Mode.DATA_FIRST):
                    m.next = "DATA"
            with m.State("WRITE"):
                m.d.comb += [bus.awvalid.eq(~((state.mode == Mode.DROP_VALID) & waited)),
                             bus.awaddr.eq(state.target + written * step
                                           + Mux((state.mode == Mode.CHANGE_ADDRESS) & waited, 64, 0))]
                with m.If(bus.awvalid & bus.awready):
                    m.next = "DATA"
                    with m.If(state.mode == Mode.DATA_FIRST):
                        m.next = "RESPONSE"
            with m.State("DATA"):
                m.d.comb += bus.wvalid.eq(1)
                with m.If((state.mode == Mode.CHANGE_DATA) & waited):
                    m.d.comb += bus.wdata.eq(~drain.data)
                with m.If(bus.wready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == state.beats - 1):
                        m.d.sync += response_timer.eq(1)
                        m.next = "RESPONSE"
                        with m.If(state.mode == Mode.DATA_FIRST):
                            m.next = "WRITE"
            with m.State("RESPONSE"), m.If(bus.bvalid):
                m.d.sync += [index.eq(0), written.eq(written + 1), state.first_response.eq(response_timer),
                             state.worst.eq(Mux(bus.bresp > state.worst, bus.bresp, state.worst))]
                m.next = "READ"
                with m.If(written == state.bursts - 1):
                    m.d.sync += state.status_done.eq(1)
                    m.next = "IDLE"
