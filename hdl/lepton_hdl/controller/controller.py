"""The controller (design D7): a processor between the host and the chip's registers, and what it works with.

    host ── AXI4-Lite ──► inbox ──► host port ──► mailbox ◄── processor (ROM, code, data)
                                        └────► chip bus ◄──────┤
                                                  ▲            ▼
                                               launcher    copy engine ── segments ──► memory ports
"""

from amaranth.hdl import Cat, Const, DomainRenamer, Module, ResetInserter, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig
from lepton.arch.controller import BistStatus, CopyStatus, Event, Launch
from lepton.arch.registers import ADDRESS_BITS

from ..axi import Axi4LiteSignature
from ..interfaces import ReadClientSignature, WriteClientSignature
from .bus import ChipBus, HostInbox, HostPort
from .copy import CopyEngine
from .launcher import AHEAD, Launcher
from .mailbox import PAGE_BITS, Mailbox
from .processor import Processor
from .stored import StoredRegisters


class Controller(wiring.Component):
    """`host`: the chip's pins. `chip`: its register file. `read`, `write`: the memory ports.

    Until the host writes START it reaches the chip's registers as if this block were not there (some cycles later);
    `owned` is high from then on. `memory_reset`: the memory ports are reset. `job_running`: of the chip.
    `bist_*`: the self-test of the chip's memories, which must work in the clock domain "awake".

    All but the time and what takes the host's accesses lies in that domain, whose clock must run while `awake` is
    high: while the processor does not wait, or anything is under way. `stay_awake` keeps it high.
    """

    def __init__(self, config: ChipConfig, rom: list[int]):
        self._config = config
        self._rom = rom
        super().__init__({
            "host": In(Axi4LiteSignature(ADDRESS_BITS)), "chip": Out(Axi4LiteSignature(ADDRESS_BITS)),
            "read": Out(ReadClientSignature(config.bus_bytes)), "write": Out(WriteClientSignature(config.bus_bytes)),
            "irq": Out(1), "owned": Out(1), "awake": Out(1), "stay_awake": In(1), "job_running": In(1),
            "memory_reset": In(1), "bist_start": Out(1), "bist_busy": In(1), "bist_failed": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        blocks = {
            "host_port": HostPort(), "mailbox": Mailbox(), "chip_bus": ChipBus(),
            "stored": StoredRegisters(("launcher", "copy", "processor", "host")), "processor": Processor(self._rom),
            "launcher": Launcher(), "copy": CopyEngine(self._config),
        }
        host_port, mailbox, chip_bus, stored, processor, launcher, copy = blocks.values()
        resets = {"launcher": ~mailbox.started, "copy": ~mailbox.started | self.memory_reset}
        for name, block in blocks.items():
            block = ResetInserter(resets[name])(block) if name in resets else block
            m.submodules[name] = DomainRenamer("awake")(block)
        m.submodules.inbox = inbox = HostInbox()

        self._connect_host(m, inbox, host_port)
        connect(m, bus=chip_bus.chip, chip=flipped(self.chip))
        connect(m, copy=copy.read, port=flipped(self.read))
        connect(m, copy=copy.write, port=flipped(self.write))
        connect(m, processor=processor.peripheral, mailbox=mailbox.processor)
        connect(m, processor=processor.chip, bus=chip_bus.processor)
        connect(m, launcher=launcher.chip, bus=chip_bus.launcher)
        connect(m, launcher=launcher.stored, stored=stored.launcher)
        connect(m, copy=copy.registers, stored=stored.copy)
        connect(m, mailbox=mailbox.processor_stored, stored=stored.processor)
        connect(m, mailbox=mailbox.host_stored, stored=stored.host)
        self._route_host(m, host_port.bus, mailbox.host, chip_bus.host)
        due = self._connect_registers(m, mailbox, launcher, copy)
        m.d.comb += [
            chip_bus.owned.eq(mailbox.started), self.owned.eq(mailbox.started), self.irq.eq(mailbox.client_irq),
            processor.run.eq(mailbox.started),
            mailbox.halt.eq(processor.trap), mailbox.halt_address.eq(processor.trap_address),
            processor.copy_address.eq(copy.address), processor.copy_read.eq(copy.read_enable),
            copy.data.eq(processor.copy_data), processor.copy_write_data.eq(copy.write_data),
            processor.copy_write_code.eq(copy.write_code), processor.copy_write_memory.eq(copy.write_memory),
            # Everything that may change a register of the domain. What is missing here is a change that is lost.
            self.awake.eq(
                ResetSignal() | self.stay_awake | self.memory_reset | self.bist_busy | due
                | inbox.pending | host_port.busy | (mailbox.started & ~mailbox.waiting) | copy.busy
                | launcher.busy | (launcher.watching & ~self.job_running)),
        ]
        return m

    def _connect_host(self, m, inbox, port):
        host = self.host
        for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "araddr", "arvalid"):
            m.d.comb += getattr(inbox, name).eq(getattr(host, name))
        for name in ("awready", "wready", "arready"):
            m.d.comb += getattr(host, name).eq(getattr(inbox, name))
        for name in ("write", "read", "write_address", "write_data", "strobe", "read_address"):
            m.d.comb += getattr(port, name).eq(getattr(inbox, name))
        for name in ("bvalid", "bresp", "rvalid", "rdata", "rresp"):
            m.d.comb += getattr(host, name).eq(getattr(port, name))
        m.d.comb += [port.bready.eq(host.bready), port.rready.eq(host.rready),
                     inbox.write_done.eq(port.write_done), inbox.read_done.eq(port.read_done)]

    @staticmethod
    def _route_host(m, bus, mailbox, chip):
        """The host's second 4 KiB are the mailbox, all others the chip's registers."""
        mine = bus.address[PAGE_BITS:] == 1
        for target, chosen in ((mailbox, mine), (chip, ~mine)):
            m.d.comb += [target.valid.eq(bus.valid & chosen), target.write.eq(bus.write),
                         target.address.eq(bus.address), target.write_data.eq(bus.write_data)]
            with m.If(chosen):
                m.d.comb += [bus.done.eq(target.done), bus.error.eq(target.error), bus.read_data.eq(target.read_data)]

    def _connect_registers(self, m, mailbox, launcher, copy):
        """Wires the registers to what they stand for; returns the signal that a deadline is now.

        Deadlines are compared with the time, which alone counts on while the others sleep.
        """
        time = Signal(64)
        now = Signal(64)
        locked = Signal()
        timer = Signal(32)
        timer_armed = Signal()
        timer_due = Signal()
        limit_due = Signal()
        m.d.sync += time.eq(time + 1)
        m.d.awake += now.eq(time)  # a cycle old; what is behind it changes only in this domain
        data = mailbox.write_data
        m.d.comb += [timer_due.eq(timer_armed & (time[:32] == timer)),
                     limit_due.eq(launcher.armed & (time[:32] == launcher.deadline))]
        with m.If(timer_due):
            m.d.awake += timer_armed.eq(0)
        with m.If(mailbox.timer_write):
            m.d.awake += [timer.eq(now + data + AHEAD), timer_armed.eq(data != 0)]
        with m.If(mailbox.lock_write):
            m.d.awake += locked.eq(1)
        with m.If(~mailbox.started):
            m.d.awake += [locked.eq(0), timer_armed.eq(0)]

        def bit(flag):
            return data[flag.bit_length() - 1]

        def flags(kind, **signals):
            """Named signals at their places in `kind`."""
            return Cat(signals[member.name.lower()] for member in kind)

        m.d.comb += [
            mailbox.time_value.eq(now), mailbox.time_hi_value.eq(now[32:]),
            mailbox.event.eq(flags(Event, doorbell=0, job=launcher.event, limit=launcher.limit_event,
                                   timer=timer_due & ~mailbox.timer_write)),
            self.bist_start.eq(mailbox.bist_write),
            mailbox.bist_status_value.eq(flags(BistStatus, busy=self.bist_busy, scratchpad=self.bist_failed[0],
                                               weights=self.bist_failed[1])),
            copy.start.eq(mailbox.copy_start_write), copy.mode.eq(data), copy.locked.eq(locked),
            copy.window.eq(mailbox.copy_window), copy.offset.eq(mailbox.copy_offset),
            copy.local.eq(mailbox.copy_local), copy.length.eq(mailbox.copy_length),
            copy.crc_write.eq(mailbox.copy_crc_write), copy.crc_data.eq(data), mailbox.copy_crc_value.eq(copy.crc),
            mailbox.copy_status_value.eq(flags(CopyStatus, busy=copy.busy, bounds=copy.bounds, failed=copy.failed,
                                               stuck=copy.stuck)),
            launcher.stage.eq(mailbox.launch_write & bit(Launch.STAGE)),
            launcher.cancel.eq(mailbox.launch_write & bit(Launch.CANCEL)),
            launcher.acknowledge.eq(mailbox.launch_write & bit(Launch.ACKNOWLEDGE)),
            launcher.window.eq(mailbox.launch_window), launcher.limit.eq(mailbox.launch_limit),
            launcher.time.eq(now), launcher.due.eq(limit_due), launcher.job_running.eq(self.job_running),
            mailbox.launch_status_value.eq(Cat(launcher.staged, launcher.running, launcher.result, launcher.held,
                                               launcher.refused, launcher.expired, Const(0, 2), launcher.started)),
            mailbox.result_start_value.eq(launcher.start_time),
            mailbox.result_start_hi_value.eq(launcher.start_time[32:]),
        ]
        return timer_due | limit_due
