"""The controller (design D7): a processor between the host and the chip's registers, and what it works with.

    host ── AXI4-Lite ──► host port ──► mailbox ◄── processor (ROM, code, data)
                              └──────► chip bus ◄──────┤
                                          ▲            ▼
                                       launcher    copy engine ── segments ──► memory ports
"""

from amaranth.hdl import Cat, Const, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from lepton.arch import ChipConfig
from lepton.arch.controller import BistStatus, CopyStatus, Event, Launch
from lepton.arch.registers import ADDRESS_BITS

from ..axi import Axi4LiteSignature
from ..interfaces import ReadClientSignature, WriteClientSignature
from .bus import ChipBus, HostPort
from .copy import CopyEngine
from .launcher import Launcher
from .mailbox import PAGE_BITS, Mailbox
from .processor import Processor
from .stored import StoredRegisters


class Controller(wiring.Component):
    """`host`: the chip's pins. `chip`: its register file. `read`, `write`: the memory ports.

    Until the host writes START it reaches the chip's registers as if this block were not there (some cycles later);
    `owned` is high from then on. `bus_reset`: the memory ports are being reset. `job_running`: of the chip.
    `bist_*`: the self-test of the chip's memories. `awake`: the processor's clock runs.
    """

    def __init__(self, config: ChipConfig, rom: list[int]):
        self._config, self._rom = config, rom
        super().__init__({
            "host": In(Axi4LiteSignature(ADDRESS_BITS)), "chip": Out(Axi4LiteSignature(ADDRESS_BITS)),
            "read": Out(ReadClientSignature(config.bus_bytes)), "write": Out(WriteClientSignature(config.bus_bytes)),
            "irq": Out(1), "owned": Out(1), "awake": Out(1), "job_running": In(1), "bus_reset": In(1),
            "bist_start": Out(1), "bist_busy": In(1), "bist_failed": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.host_port = host_port = HostPort()
        m.submodules.mailbox = mailbox = Mailbox()
        m.submodules.chip_bus = chip_bus = ChipBus()
        m.submodules.stored = stored = StoredRegisters(("launcher", "copy", "processor", "host"))
        m.submodules.processor = processor = Processor(self._rom)
        launcher, copy = Launcher(), CopyEngine(self._config)
        m.submodules.launcher = ResetInserter(~mailbox.started)(launcher)
        m.submodules.copy = ResetInserter(~mailbox.started | self.bus_reset)(copy)

        connect(m, host=flipped(self.host), port=host_port.host)
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
        self._connect_registers(m, mailbox, launcher, copy)
        m.d.comb += [
            chip_bus.owned.eq(mailbox.started), self.owned.eq(mailbox.started), self.irq.eq(mailbox.client_irq),
            processor.run.eq(mailbox.started), processor.stop.eq(mailbox.waiting & mailbox.started),
            mailbox.halt.eq(processor.trap), mailbox.halt_address.eq(processor.trap_address),
            self.awake.eq(~processor.stop),
            processor.copy_address.eq(copy.address), processor.copy_read.eq(copy.read_enable),
            copy.data.eq(processor.copy_data), processor.copy_write_data.eq(copy.write_data),
            processor.copy_write_code.eq(copy.write_code), processor.copy_write_memory.eq(copy.write_memory),
        ]
        return m

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
        time, timer, locked = Signal(64), Signal(32), Signal()
        m.d.sync += time.eq(time + 1)
        data = mailbox.write_data
        with m.If(mailbox.timer_write):
            m.d.sync += timer.eq(data)
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.If(mailbox.lock_write):
            m.d.sync += locked.eq(1)
        with m.If(~mailbox.started):
            m.d.sync += [locked.eq(0), timer.eq(0)]

        def bit(flag):
            return data[flag.bit_length() - 1]

        def flags(kind, **signals):
            """Named signals at their places in `kind`."""
            return Cat(signals[member.name.lower()] for member in kind)

        m.d.comb += [
            mailbox.time_value.eq(time), mailbox.time_hi_value.eq(time[32:]),
            mailbox.event.eq(flags(Event, doorbell=0, job=launcher.event, limit=launcher.limit_event,
                                   timer=(timer == 1) & ~mailbox.timer_write)),
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
            launcher.time.eq(time), launcher.job_running.eq(self.job_running),
            mailbox.launch_status_value.eq(Cat(launcher.staged, launcher.running, launcher.result, launcher.held,
                                               launcher.refused, launcher.expired, Const(0, 2), launcher.started)),
            mailbox.result_start_value.eq(launcher.start_time),
            mailbox.result_start_hi_value.eq(launcher.start_time[32:]),
        ]
