"""One access after another to the chip's registers, with a limit on the time for an answer."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch.registers import ADDRESS_BITS
from lepton.arch.serial import Status

from ..axi import Axi4LiteSignature

# Cycles in which the chip must answer. The register file takes a few; a controller that owns it takes a few hundred.
LIMIT = 1 << 16

ACCESS = data.StructLayout({"write": 1, "address": ADDRESS_BITS, "data": 32})
ANSWER = data.StructLayout({"status": 8, "data": 32})


class RegisterAccess(wiring.Component):
    """`access` becomes one AXI4-Lite transaction; `answer` follows.

    After `LIMIT` cycles the answer is NO_ANSWER. AXI does not let a manager take a transaction back, so until the chip
    ends it all later accesses are answered with NO_ANSWER at once.
    """

    def __init__(self):
        super().__init__({
            "access": In(stream.Signature(ACCESS)),
            "answer": Out(stream.Signature(ANSWER, always_ready=True)),
            "host": Out(Axi4LiteSignature(ADDRESS_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        host = self.host
        request = self.access.payload
        answer = self.answer.payload
        left = Signal(range(LIMIT))  # cycles of the access
        late = Signal()  # the transaction on the bus has been given up
        ended = Signal()
        m.d.comb += [
            host.bready.eq(1), host.rready.eq(1), host.wstrb.eq(0b1111),
            ended.eq(host.bvalid | host.rvalid),
        ]
        for valid, ready in ((host.awvalid, host.awready), (host.wvalid, host.wready), (host.arvalid, host.arready)):
            with m.If(ready):
                m.d.sync += valid.eq(0)
        with m.If(ended):
            m.d.sync += late.eq(0)
        m.d.sync += self.answer.valid.eq(0)

        def finish(status, value=0):
            m.d.sync += [self.answer.valid.eq(1), answer.status.eq(status), answer.data.eq(value)]

        with m.FSM(name="register_access"):
            with m.State("IDLE"):
                m.d.comb += self.access.ready.eq(1)
                m.d.sync += left.eq(LIMIT - 1)
                with m.If(self.access.valid):
                    with m.If(late & ~ended):
                        finish(Status.NO_ANSWER)
                    with m.Else():
                        m.d.sync += [
                            host.awvalid.eq(request.write), host.wvalid.eq(request.write),
                            host.arvalid.eq(~request.write),
                            host.awaddr.eq(request.address), host.araddr.eq(request.address),
                            host.wdata.eq(request.data),
                        ]
                        m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.sync += left.eq(left - 1)
                with m.If(host.bvalid):
                    finish(host.bresp)
                    m.next = "IDLE"
                with m.Elif(host.rvalid):
                    finish(host.rresp, host.rdata)
                    m.next = "IDLE"
                with m.Elif(left == 0):
                    finish(Status.NO_ANSWER)
                    m.d.sync += late.eq(1)
                    m.next = "IDLE"
        return m
