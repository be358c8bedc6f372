"""Several managers of one memory."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..dma.queue import Queue
from .requests import MemorySignature

RUN = 16  # requests in a row while another manager waits: each change of direction or row costs SDRAM some ten cycles
READS = 8  # reads under way; more than SDRAM's latency in words


class Share(wiring.Component):
    """`clients` take turns at `memory`; each keeps its turn for up to `RUN` requests that follow each other."""

    def __init__(self, data_bytes: int, clients: int):
        self.count = clients
        super().__init__({
            "clients": In(MemorySignature(data_bytes)).array(clients),
            "memory": Out(MemorySignature(data_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.owners = owners = Queue(range(self.count), READS)
        requests = Array(client.request for client in self.clients)
        request = self.memory.request
        turn = Signal(range(self.count))  # the client of the last cycle
        now = Signal.like(turn)
        left = Signal(range(RUN), init=RUN - 1)  # further requests of this turn
        others = Signal()
        m.d.comb += now.eq(turn)
        for n in range(self.count):
            with m.If(turn == n):
                following = [(n + k) % self.count for k in range(1, self.count)]
                m.d.comb += others.eq(sum(requests[k].valid for k in following) != 0)
                with m.If(~requests[n].valid | ((left == 0) & others)):
                    for k in reversed(following):
                        with m.If(requests[k].valid):
                            m.d.comb += now.eq(k)

        granted = Signal()
        for n in range(self.count):
            with m.If(now == n):
                m.d.comb += [granted.eq(requests[n].valid), request.payload.eq(requests[n].payload)]
        taken = Signal()
        m.d.comb += [
            request.valid.eq(granted & (request.payload.write | owners.i.ready)),
            taken.eq(request.valid & request.ready),
            owners.i.valid.eq(taken & ~request.payload.write),
            owners.i.payload.eq(now),
            owners.o.ready.eq(self.memory.read_data.valid),
        ]
        m.d.sync += turn.eq(now)
        with m.If(taken):
            m.d.sync += left.eq(Mux((now != turn) | (left == 0), RUN - 1, left - 1))
        for n, client in enumerate(self.clients):
            m.d.comb += [
                client.request.ready.eq((now == n) & taken),
                client.read_data.valid.eq(self.memory.read_data.valid & (owners.o.payload == n)),
                client.read_data.payload.eq(self.memory.read_data.payload),
            ]
        return m
