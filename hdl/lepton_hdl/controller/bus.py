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


class HostPort(wiring.Component):
    """Takes the host's AXI4-Lite accesses, one at a time, to `bus`; reads and writes take turns.

    A write that does not carry all four bytes answers SLVERR and does not reach `bus`.
    """

    def __init__(self):
        super().__init__({"host": In(Axi4LiteSignature(ADDRESS_BITS)), "bus": Out(BusSignature(ADDRESS_BITS))})

    def elaborate(self, platform):
        m = Module()
        host, bus = self.host, self.bus
        write_address, read_address = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        strobe = Signal(4)
        have_address, have_data, have_read = Signal(), Signal(), Signal()
        m.d.comb += [host.awready.eq(~have_address), host.wready.eq(~have_data), host.arready.eq(~have_read)]
        with m.If(host.awvalid & host.awready):
            m.d.sync += [have_address.eq(1), write_address.eq(host.awaddr)]
        with m.If(host.wvalid & host.wready):
            m.d.sync += [have_data.eq(1), bus.write_data.eq(host.wdata), strobe.eq(host.wstrb)]
        with m.If(host.arvalid & host.arready):
            m.d.sync += [have_read.eq(1), read_address.eq(host.araddr)]
        with m.If(host.bready):
            m.d.sync += host.bvalid.eq(0)
        with m.If(host.rready):
            m.d.sync += host.rvalid.eq(0)

        can_write, can_read, wrote_last = Signal(), Signal(), Signal()
        m.d.comb += [
            can_write.eq(have_address & have_data & (~host.bvalid | host.bready)),
            can_read.eq(have_read & (~host.rvalid | host.rready)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(can_write & ~(can_read & wrote_last)):
                    m.next = "WRITE"
                with m.Elif(can_read):
                    m.next = "READ"
            with m.State("WRITE"):
                whole = strobe.all()
                m.d.comb += [bus.valid.eq(whole), bus.write.eq(1), bus.address.eq(write_address)]
                with m.If(bus.done | ~whole):
                    m.d.sync += [have_address.eq(0), have_data.eq(0), wrote_last.eq(1), host.bvalid.eq(1),
                                 host.bresp.eq(Resp.SLVERR)]
                    with m.If(whole & ~bus.error):
                        m.d.sync += host.bresp.eq(Resp.OKAY)
                    m.next = "IDLE"
            with m.State("READ"):
                m.d.comb += [bus.valid.eq(1), bus.address.eq(read_address)]
                with m.If(bus.done):
                    m.d.sync += [have_read.eq(0), wrote_last.eq(0), host.rvalid.eq(1), host.rdata.eq(bus.read_data),
                                 host.rresp.eq(Resp.OKAY)]
                    with m.If(bus.error):
                        m.d.sync += host.rresp.eq(Resp.SLVERR)
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
        chip, ports = self.chip, [self.launcher, self.processor, self.host]
        allowed = Signal()
        owner = Signal(range(len(ports)))
        answered, error = Signal(), Signal()
        m.d.comb += [chip.bready.eq(1), chip.rready.eq(1)]
        for i, port in enumerate(ports):
            m.d.comb += [
                port.done.eq(answered & (owner == i)), port.read_data.eq(chip.rdata), port.error.eq(error),
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
                m.d.comb += [
                    answered.eq(chip.bvalid | chip.rvalid),
                    error.eq((chip.bvalid & (chip.bresp != Resp.OKAY.value))
                             | (chip.rvalid & (chip.rresp != Resp.OKAY.value))),
                ]
                with m.If(answered):
                    m.next = "IDLE"
            with m.State("REFUSE"):
                m.d.comb += [answered.eq(1), error.eq(1)]
                m.next = "IDLE"
        return m
