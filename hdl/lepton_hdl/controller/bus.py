"""The register bus between host, processor and launcher, and its ends in AXI4-Lite."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import REGISTERS
from lepton.arch.registers import ADDRESS_BITS

from ..axi import Axi4LiteSignature, Resp


class BusSignature(wiring.Signature):
    """One 32-bit access at a time, as seen by who asks.

    `valid` and what is asked are held until `done`, which is high for one cycle and brings `read_data` or `error`.
    """

    def __init__(self, address_bits: int):
        super().__init__({
            "valid": Out(1), "write": Out(1), "address": Out(address_bits), "write_data": Out(32),
            "done": In(1), "read_data": In(32), "error": In(1),
        })


class HostInbox(wiring.Component):
    """Takes the host's AXI4-Lite addresses and data while everything behind it may be asleep, and holds them.

    `pending`: something is held. `write` and `read` say that an access is whole; `write_done` and `read_done`,
    of one cycle, make room for the next.
    """

    def __init__(self):
        super().__init__({
            name: In(shape) for name, shape in (
                ("awaddr", ADDRESS_BITS), ("awvalid", 1), ("wdata", 32), ("wstrb", 4), ("wvalid", 1),
                ("araddr", ADDRESS_BITS), ("arvalid", 1), ("write_done", 1), ("read_done", 1))} | {
            name: Out(shape) for name, shape in (
                ("awready", 1), ("wready", 1), ("arready", 1), ("pending", 1), ("write", 1), ("read", 1),
                ("write_address", ADDRESS_BITS), ("write_data", 32), ("strobe", 4), ("read_address", ADDRESS_BITS))})

    def elaborate(self, platform):
        m = Module()
        have_address = Signal()
        have_data = Signal()
        have_read = Signal()
        m.d.comb += [
            self.awready.eq(~have_address), self.wready.eq(~have_data), self.arready.eq(~have_read),
            self.pending.eq(have_address | have_data | have_read),
            self.write.eq(have_address & have_data), self.read.eq(have_read),
        ]
        with m.If(self.write_done):
            m.d.sync += [have_address.eq(0), have_data.eq(0)]
        with m.If(self.read_done):
            m.d.sync += have_read.eq(0)
        with m.If(self.awvalid & self.awready):
            m.d.sync += [have_address.eq(1), self.write_address.eq(self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [have_data.eq(1), self.write_data.eq(self.wdata), self.strobe.eq(self.wstrb)]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [have_read.eq(1), self.read_address.eq(self.araddr)]
        return m


class HostPort(wiring.Component):
    """Brings the accesses of a `HostInbox` to `bus`, one at a time, and answers the host; reads and writes take turns.

    A write that does not carry all four bytes answers SLVERR and does not reach `bus`. `busy`: an access is under way.
    The inbox is looked at through registers, so that nothing here changes while this block's clock stands still.
    """

    def __init__(self):
        super().__init__({
            name: In(shape) for name, shape in (
                ("write", 1), ("read", 1), ("write_address", ADDRESS_BITS), ("write_data", 32), ("strobe", 4),
                ("read_address", ADDRESS_BITS), ("bready", 1), ("rready", 1))} | {
            name: Out(shape) for name, shape in (
                ("write_done", 1), ("read_done", 1), ("bvalid", 1), ("bresp", 2), ("rvalid", 1), ("rdata", 32),
                ("rresp", 2), ("busy", 1))} | {"bus": Out(BusSignature(ADDRESS_BITS))})

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        write = Signal()
        read = Signal()
        wrote_last = Signal()
        whole = Signal()
        m.d.sync += [write.eq(self.write), read.eq(self.read)]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        m.d.comb += self.busy.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(write | read | self.bvalid | self.rvalid)
                with m.If(write & ~self.bvalid & ~(read & ~self.rvalid & wrote_last)):
                    m.d.sync += [bus.address.eq(self.write_address), bus.write_data.eq(self.write_data),
                                 bus.write.eq(1), whole.eq(self.strobe.all())]
                    m.next = "WRITE"
                with m.Elif(read & ~self.rvalid):
                    m.d.sync += [bus.address.eq(self.read_address), bus.write.eq(0)]
                    m.next = "READ"
            with m.State("WRITE"):
                m.d.comb += bus.valid.eq(whole)
                with m.If(bus.done | ~whole):
                    m.d.comb += self.write_done.eq(1)
                    m.d.sync += [wrote_last.eq(1), self.bvalid.eq(1), self.bresp.eq(Resp.SLVERR)]
                    with m.If(whole & ~bus.error):
                        m.d.sync += self.bresp.eq(Resp.OKAY)
                    m.next = "LOOK"
            with m.State("READ"):
                m.d.comb += bus.valid.eq(1)
                with m.If(bus.done):
                    m.d.comb += self.read_done.eq(1)
                    m.d.sync += [wrote_last.eq(0), self.rvalid.eq(1), self.rdata.eq(bus.read_data),
                                 self.rresp.eq(Resp.OKAY)]
                    with m.If(bus.error):
                        m.d.sync += self.rresp.eq(Resp.SLVERR)
                    m.next = "LOOK"
            with m.State("LOOK"):  # `write` and `read` still show what has just been done
                m.next = "IDLE"
        return m


# What the processor may write of the chip's registers: never what says where engines read and write.
PROCESSOR_WRITES = [r.offset for r in REGISTERS.values() if not r.job and r.access != "ro"]


class ChipBus(wiring.Component):
    """Brings the accesses of `launcher`, `processor` and `host`, in this order, to the chip's registers.

    The launcher may do everything. While `owned`, the processor may write only `PROCESSOR_WRITES`, and the host
    nothing; before that the host may do everything and the processor only read.
    """

    def __init__(self):
        super().__init__({
            "owned": In(1),
            "launcher": In(BusSignature(ADDRESS_BITS)),
            "processor": In(BusSignature(ADDRESS_BITS)),
            "host": In(BusSignature(ADDRESS_BITS)),
            "chip": Out(Axi4LiteSignature(ADDRESS_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        chip = self.chip
        ports = [self.launcher, self.processor, self.host]
        allowed = Signal()
        owner = Signal(range(len(ports)))
        answered = Signal()
        error = Signal()
        read_data = Signal(32)
        m.d.comb += [chip.bready.eq(1), chip.rready.eq(1)]
        # Answers pass through registers: what is behind them changes only with this block's clock.
        m.d.sync += [
            answered.eq(chip.bvalid | chip.rvalid), read_data.eq(chip.rdata),
            error.eq((chip.bvalid & (chip.bresp != Resp.OKAY.value))
                     | (chip.rvalid & (chip.rresp != Resp.OKAY.value))),
        ]
        for i, port in enumerate(ports):
            m.d.comb += [
                port.done.eq(answered & (owner == i)), port.read_data.eq(read_data), port.error.eq(error),
            ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(ports[0].valid | ports[1].valid | ports[2].valid):
                    m.next = "ANSWER"
                for i in reversed(range(len(ports))):  # the last assignment wins: the first asking port
                    with m.If(ports[i].valid):
                        m.d.sync += [
                            owner.eq(i), chip.awaddr.eq(ports[i].address), chip.araddr.eq(ports[i].address),
                            chip.wdata.eq(ports[i].write_data), chip.wstrb.eq(15),
                            chip.awvalid.eq(ports[i].write), chip.wvalid.eq(ports[i].write),
                            chip.arvalid.eq(~ports[i].write),
                        ]
                        if i == 1:
                            m.d.comb += allowed.eq(self.owned & (ports[i].address.matches(*PROCESSOR_WRITES)))
                        else:
                            m.d.comb += allowed.eq(1 if i == 0 else ~self.owned)
                        with m.If(ports[i].write & ~allowed):
                            m.d.sync += [chip.awvalid.eq(0), chip.wvalid.eq(0)]
                            m.next = "REFUSE"
            with m.State("ANSWER"):
                with m.If(chip.awready):
                    m.d.sync += chip.awvalid.eq(0)
                with m.If(chip.wready):
                    m.d.sync += chip.wvalid.eq(0)
                with m.If(chip.arready):
                    m.d.sync += chip.arvalid.eq(0)
                with m.If(answered):
                    m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.sync += [answered.eq(1), error.eq(1)]
                m.next = "ANSWER"
        return m
