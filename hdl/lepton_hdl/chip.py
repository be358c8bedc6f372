"""The chip: control, DMA and datapath, with AXI at the edge.

    host ── AXI4-Lite ──► control ── commands ──► LOAD, TENSOR, STORE, ROWS

    memory ── AXI4 ──► read port ──► LOAD ──► datapath ──► STORE ──► write port ── AXI4 ──► memory
                           └──► control (programs)
"""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetInserter, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig, Engine
from lepton.arch.registers import ADDRESS_BITS

from .axi import Axi4LiteSignature, Axi4Signature
from .control.control import ControlBlock
from .controller.clock import ClockGate
from .controller.controller import Controller
from .datapath import Datapath
from .dma.load import LoadEngine
from .dma.read_port import ReadPort
from .dma.store import StoreEngine
from .dma.write_port import WritePort
from .dma.write_share import WriteShare


def _pins(config: ChipConfig) -> dict:
    return {
        "host": In(Axi4LiteSignature(ADDRESS_BITS)),
        "memory": Out(Axi4Signature(config.bus_bytes)),
        "irq": Out(1),
        "memory_reset": Out(1),
    } | ({"clock_enable": Out(len(Engine) + 1)} if config.controller else {})


class Core(wiring.Component):
    """The blocks of the chip, wired. `rom`: words of the controller's ROM, where there is one."""

    def __init__(self, config: ChipConfig, rom: list[int] | None = None):
        if config.controller and not rom:
            raise ValueError("a chip with controller=True needs its boot ROM; give Chip the words of "
                             "lepton.firmware.build.rom()")
        self.config = config
        self._rom = rom
        super().__init__(_pins(config))

    def elaborate(self, platform):
        m = Module()
        m.submodules.control = control = ControlBlock(self.config)
        # Engines start every job as after reset. The memory ports do not, as they must end what is on the bus, unless
        # memory is reset with them.
        renew_engine = ResetInserter(control.engine_reset)
        renew_port = ResetInserter(control.memory_reset)
        load = LoadEngine(self.config)
        store = StoreEngine(self.config)
        datapath = Datapath(self.config)
        controlled = self.config.controller
        read_port = ReadPort(self.config, clients=2 + controlled)
        write_port = WritePort(self.config)
        write_share = WriteShare(self.config, clients=1 + controlled)
        m.submodules.load = renew_engine(load)
        m.submodules.store = renew_engine(store)
        m.submodules.datapath = renew_engine(datapath)
        m.submodules.read_port = renew_port(read_port)
        m.submodules.write_port = renew_port(write_port)
        m.submodules.write_share = renew_port(write_share)

        connect(m, control=control.load, load=load.control)
        connect(m, control=control.tensor, datapath=datapath.control)
        connect(m, control=control.store, store=store.control)
        if self.config.row_lanes:
            connect(m, control=control.rows, datapath=datapath.rows)
        connect(m, control=control.read, port=read_port.clients[0])
        connect(m, load=load.read, port=read_port.clients[1])
        connect(m, load=load.write, datapath=datapath.load_write)
        connect(m, store=store.read, datapath=datapath.store_read)
        connect(m, store=store.write, share=write_share.clients[0])
        connect(m, share=write_share.port, port=write_port.client)
        if controlled:
            self._add_controller(m, control, datapath, read_port, write_share)
        else:
            connect(m, host=flipped(self.host), control=control.host)
            m.d.comb += self.irq.eq(control.irq)
        for port in (read_port, write_port):
            for path, member, _ in port.bus.signature.flatten(port.bus):
                (name,) = path
                inner = getattr(port.bus, name)
                outer = getattr(self.memory, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        m.d.comb += [
            load.regions.eq(control.regions), store.regions.eq(control.regions),
            read_port.timeout.eq(control.timeout), write_port.timeout.eq(control.timeout),
            control.read_beat.eq(read_port.beat_transferred), control.write_beat.eq(write_port.beat_transferred),
            control.tensor_activity.eq(datapath.activity), self.memory_reset.eq(control.memory_reset),
            # Of the controller only what it has left behind counts: while it is started it waits for its own copies.
            control.read_open.eq(read_port.open[:2].any() | read_port.stale.any()),
            control.write_open.eq(write_share.open[0] | write_share.stale.any()),
            control.read_stale.eq(read_port.stale[:2].any()), control.write_stale.eq(write_share.stale[0]),
            read_port.discard[:2].eq(control.engine_reset.replicate(2)),
            write_share.discard[0].eq(control.engine_reset),
        ]
        for name, port in (("read", read_port), ("write", write_port)):
            m.d.comb += port.restart.eq(control.engine_reset)
            for output in ("timed_out", "broken", "failed_address"):
                m.d.comb += getattr(control, f"{name}_{output}").eq(getattr(port, output))
        return m

    def _add_controller(self, m, control, datapath, read_port, write_share):
        """The controller between the host's pins and the register file, and next to the engines on the memory ports."""
        m.submodules.controller = controller = Controller(self.config, self._rom)
        m.submodules.gate = gate = ClockGate()
        m.domains.awake = ClockDomain()
        m.d.comb += [gate.run.eq(controller.awake), ClockSignal("awake").eq(gate.clock),
                     ResetSignal("awake").eq(ResetSignal())]
        connect(m, host=flipped(self.host), controller=controller.host)
        connect(m, controller=controller.chip, control=control.host)
        connect(m, controller=controller.read, port=read_port.clients[2])
        connect(m, controller=controller.write, share=write_share.clients[1])
        m.d.comb += [
            self.irq.eq(controller.irq | (control.irq & ~controller.owned)),
            controller.job_running.eq(control.running), controller.memory_reset.eq(control.memory_reset),
            controller.stay_awake.eq(control.engine_reset),
            # START 0 resets the copy engine, whatever it has on the bus.
            read_port.discard[2].eq(~controller.owned), write_share.discard[1].eq(~controller.owned),
            datapath.bist_start.eq(controller.bist_start), controller.bist_busy.eq(datapath.bist_busy),
            controller.bist_failed.eq(datapath.bist_failed),
        ]
        # What may be clocked off outside: an engine has no command and has been quiet for a while.
        for engine, active in enumerate((control.load, control.tensor, control.store, control.rows)):
            quiet = Signal(4, name=f"quiet{engine}")
            m.d.comb += self.clock_enable[engine].eq(~quiet.all())
            with m.If(active.busy | active.command.valid | control.engine_reset | datapath.bist_busy):
                m.d.sync += quiet.eq(0)
            with m.Elif(~quiet.all()):
                m.d.sync += quiet.eq(quiet + 1)
        m.d.comb += self.clock_enable[len(Engine)].eq(controller.awake)


class Chip(wiring.Component):
    """The top: `Core` in the domain of the `clk` and `rst` pins.

    The reset is registered once, so that no logic hangs on the pin (docs/decisions/08).

    Members
    -------
    host: AXI4-Lite subordinate, the registers of `lepton.arch.registers`.
    memory: AXI4 manager, `config.bus_bytes` wide.
    irq: high while an enabled interrupt is pending.
    memory_reset: high for the cycle in which CONTROL.MEMORY_RESET acts. The ports forget all transactions, in the
        middle of a handshake if need be, and memory must do so too: it keeps its contents and answers nothing that it
        was asked before.
    With `config.controller` only, as `rom`, the words of the controller's boot ROM:
    clock_enable: LOAD, TENSOR, STORE, ROWS, controller: low while its clock may be stopped.
    """

    def __init__(self, config: ChipConfig, rom: list[int] | None = None):
        self.config = config
        self._rom = rom
        super().__init__(_pins(config))

    def elaborate(self, platform):
        m = Module()
        reset = Signal(init=1)
        m.domains.core = ClockDomain()
        m.d.sync += reset.eq(ResetSignal("sync"))
        m.d.comb += [ClockSignal("core").eq(ClockSignal("sync")), ResetSignal("core").eq(reset)]
        core = Core(self.config, self._rom)
        m.submodules.core = DomainRenamer("core")(core)
        self._connect_host(m, core.host, reset)
        connect(m, core=core.memory, memory=flipped(self.memory))
        m.d.comb += [self.irq.eq(core.irq), self.memory_reset.eq(core.memory_reset)]
        if self.config.controller:
            m.d.comb += self.clock_enable.eq(core.clock_enable)
        return m

    def _connect_host(self, m, core, reset):
        """`host` to the core; nothing is accepted in the cycle in which only the core is still in reset."""
        for path, member, _ in self.host.signature.flatten(self.host):
            (name,) = path
            pin = getattr(self.host, name)
            inner = getattr(core, name)
            if member.flow == In:
                m.d.comb += inner.eq(pin)
            else:
                m.d.comb += pin.eq(inner & ~reset if name.endswith("ready") else inner)
