"""The chip: control, DMA and datapath, with AXI at the edge.

    host ── AXI4-Lite ──► control ── commands ──► LOAD, TENSOR, STORE

    memory ── AXI4 ──► read port ──► LOAD ──► datapath ──► STORE ──► write port ── AXI4 ──► memory
                           └──► control (programs)
"""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetInserter, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig
from lepton.arch.registers import ADDRESS_BITS

from .axi import Axi4LiteSignature, Axi4Signature
from .control.control import Control
from .datapath import Datapath
from .dma.load import LoadEngine
from .dma.read_port import ReadPort
from .dma.store import StoreEngine
from .dma.write_port import WritePort


def _pins(config: ChipConfig) -> dict:
    return {
        "host": In(Axi4LiteSignature(ADDRESS_BITS)),
        "memory": Out(Axi4Signature(config.bus_bytes)),
        "irq": Out(1),
    }


class Core(wiring.Component):
    """The blocks of the chip, wired."""

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__(_pins(config))

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = Control(self.config)
        # Engines start every job as after reset; the memory ports keep order on the bus and do not.
        renew_engine, renew_port = ResetInserter(control.engine_reset), ResetInserter(control.bus_reset)
        load, store, datapath = LoadEngine(self.config), StoreEngine(self.config), Datapath(self.config)
        read_port, write_port = ReadPort(self.config, clients=2), WritePort(self.config)
        m.submodules.load = renew_engine(load)
        m.submodules.store = renew_engine(store)
        m.submodules.datapath = renew_engine(datapath)
        m.submodules.read_port = renew_port(read_port)
        m.submodules.write_port = renew_port(write_port)

        connect(m, host=flipped(self.host), control=control.host)
        connect(m, control=control.load, load=load.control)
        connect(m, control=control.tensor, datapath=datapath.control)
        connect(m, control=control.store, store=store.control)
        connect(m, control=control.read, port=read_port.clients[0])
        connect(m, load=load.read, port=read_port.clients[1])
        connect(m, load=load.write, datapath=datapath.load_write)
        connect(m, store=store.read, datapath=datapath.store_read)
        connect(m, store=store.write, port=write_port.client)
        for port in (read_port, write_port):
            for path, member, _ in port.bus.signature.flatten(port.bus):
                (name,) = path
                inner, outer = getattr(port.bus, name), getattr(self.memory, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        m.d.comb += [
            self.irq.eq(control.irq),
            load.regions.eq(control.regions), store.regions.eq(control.regions),
            read_port.timeout.eq(control.timeout), write_port.timeout.eq(control.timeout),
            control.read_timed_out.eq(read_port.timed_out), control.write_timed_out.eq(write_port.timed_out),
            control.read_timeout_address.eq(read_port.timeout_address),
            control.write_timeout_address.eq(write_port.timeout_address),
            control.read_beat.eq(read_port.beat_transferred), control.write_beat.eq(write_port.beat_transferred),
            control.tensor_activity.eq(datapath.activity),
        ]
        return m


class Chip(wiring.Component):
    """The top: `Core` in the domain of the `clk` and `rst` pins.

    The reset is registered once, so that no logic hangs on the pin (docs/decisions/08).

    Members
    -------
    host: AXI4-Lite subordinate, the registers of `lepton.arch.registers`.
    memory: AXI4 manager, `config.bus_bytes` wide.
    irq: high while an enabled interrupt is pending.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__(_pins(config))

    def elaborate(self, platform):
        m = Module()
        reset = Signal(init=1)
        m.domains.core = ClockDomain()
        m.d.sync += reset.eq(ResetSignal("sync"))
        m.d.comb += [ClockSignal("core").eq(ClockSignal("sync")), ResetSignal("core").eq(reset)]
        core = Core(self.config)
        m.submodules.core = DomainRenamer("core")(core)
        self._connect_host(m, core.host, reset)
        connect(m, core=core.memory, memory=flipped(self.memory))
        m.d.comb += self.irq.eq(core.irq)
        return m

    def _connect_host(self, m, core, reset):
        """`host` to the core; nothing is accepted in the cycle in which only the core is still in reset."""
        for path, member, _ in self.host.signature.flatten(self.host):
            (name,) = path
            pin, inner = getattr(self.host, name), getattr(core, name)
            if member.flow == In:
                m.d.comb += inner.eq(pin)
            else:
                m.d.comb += pin.eq(inner & ~reset if name.endswith("ready") else inner)
