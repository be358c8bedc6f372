"""The control block: everything between the host's registers and the engines."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from lepton.arch import COUNTERS, ChipConfig, Engine, ErrorCode, Region
from lepton.arch.commands import ENGINE_RECORDS
from lepton.arch.registers import ADDRESS_BITS
from lepton.arch.registers import Control as ControlBit

from ..axi import Axi4LiteSignature
from ..interfaces import REGION_TABLE, EngineSignature, ReadClientSignature
from .counters import Activity, Counters
from .deadlock import DeadlockDetector
from .dispatch import Dispatcher
from .fetch import ProgramFetcher
from .job import JobController
from .registers import RegisterFile
from .repeat import Repeater
from .semaphores import Semaphores

PORTS = [engine.name.lower() for engine in Engine]

# What stops a job, in the order that decides between causes of the same cycle: causes before their consequences.
SOURCES = ["read_port", "write_port", "fetch",
           *(f"{name}_engine" for name in PORTS), *(f"{name}_dispatch" for name in PORTS), "semaphores", "deadlock"]


class ControlBlock(wiring.Component):
    """`host` is the AXI4-Lite subordinate. `read` is the client through which programs are fetched.

    `engine_reset` puts the engines back to their start, in the first cycle of every job and with
    CONTROL.RESET; `memory_reset`, with CONTROL.MEMORY_RESET, does so with the memory ports. `running`: a job is under
    way. For each port: `*_open`, transactions of the engines are outstanding; `*_stale`, they are those of an earlier
    job, and no command is fetched until they have ended; `*_timed_out` and `*_broken` as in `Watchdog`, at
    `*_failed_address`. `read_beat` and `write_beat` are high in each cycle in which a beat is transferred.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        super().__init__({
            "host": In(Axi4LiteSignature(ADDRESS_BITS)),
            "irq": Out(1),
            "read": Out(ReadClientSignature(config.bus_bytes)),
            "regions": Out(REGION_TABLE),
            "timeout": Out(32),
            "engine_reset": Out(1),
            "memory_reset": Out(1),
            "running": Out(1),
            "tensor_activity": In(Activity),
            "read_beat": In(1),
            "write_beat": In(1),
        } | {f"{port}_{name}": In(width) for port in ("read", "write") for name, width in (
            ("open", 1), ("stale", 1), ("timed_out", 1), ("broken", 1), ("failed_address", 64))}
          | {name: Out(EngineSignature(record)) for name, record in zip(PORTS, ENGINE_RECORDS.values(), strict=True)})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.registers = registers = RegisterFile(config)
        m.submodules.job = job = JobController(SOURCES)
        m.submodules.counters = counters = Counters(config)
        renew = ResetInserter(job.engine_reset)
        m.submodules.fetch = fetch = renew(ProgramFetcher(config))
        m.submodules.semaphores = semaphores = renew(Semaphores())
        m.submodules.deadlock = deadlock = DeadlockDetector()
        dispatchers = []
        for engine in Engine:
            name = PORTS[engine]
            m.submodules[f"{name}_repeat"] = repeater = renew(Repeater(ENGINE_RECORDS[engine], config.bus_bytes))
            m.submodules[f"{name}_dispatch"] = dispatcher = renew(Dispatcher(engine, config))
            wiring.connect(m, fetch=getattr(fetch, name), repeater=repeater.i)
            wiring.connect(m, repeater=repeater.o, dispatcher=dispatcher.i)
            m.d.comb += dispatcher.last.eq(repeater.last)
            dispatchers.append(dispatcher)

        wiring.connect(m, host=wiring.flipped(self.host), registers=registers.bus)
        wiring.connect(m, read=wiring.flipped(self.read), fetch=fetch.read)
        self._connect_registers(m, registers, job)
        self._connect_programs(m, registers, fetch, job)
        for engine, dispatcher in zip(Engine, dispatchers, strict=True):
            self._connect_engine(m, engine, dispatcher, semaphores, registers, job)
        self._connect_faults(m, job, fetch, semaphores, deadlock, dispatchers)
        self._connect_counters(m, registers, job, counters, dispatchers[Engine.TENSOR])

        engines = [getattr(self, name) for name in PORTS]
        m.d.comb += [
            job.busy.eq(Cat(*(engine.busy for engine in engines), ~fetch.quiet)),
            job.finished.eq(Cat(dispatcher.finished for dispatcher in dispatchers).all() & ~job.busy.any()),
        ]
        return m

    def _connect_registers(self, m, registers, job):
        control = registers.write_data

        def written(bit):
            return registers.control_write & control[exact_log2(bit)]

        # Through registers: resets reach everything, and the host's pins must not.
        reset = Signal()
        m.d.sync += [
            self.memory_reset.eq(written(ControlBit.MEMORY_RESET)),
            reset.eq(written(ControlBit.RESET) | written(ControlBit.MEMORY_RESET)),
        ]
        m.d.comb += [
            job.reset.eq(reset),
            job.abort.eq(written(ControlBit.ABORT)),
            job.start.eq(registers.doorbell_write),
            job.irq_clear.eq(registers.irq_status_clear),
            registers.locked.eq(job.running),
            self.running.eq(job.running),
            registers.status.eq(job.status),
            registers.irq_status.eq(job.irq_status),
            registers.error_code.eq(job.error.code),
            registers.error_engine.eq(job.error.engine),
            registers.error_command.eq(job.error.index),
            registers.error_layer.eq(job.error.layer),
            Cat(registers.error_address, registers.error_address_hi).eq(job.error.address),
            registers.memory_status.eq(Cat(  # in the order of MemoryStatus
                self.read_open, self.write_open, self.read_timed_out, self.write_timed_out, self.read_broken,
                self.write_broken)),
            self.engine_reset.eq(job.engine_reset),
            self.timeout.eq(registers.timeout),
            self.irq.eq((registers.irq_status & registers.irq_enable).any()),
        ]

    def _connect_programs(self, m, registers, fetch, job):
        for region in Region:
            name = region.name.lower()
            base, base_hi, size = (getattr(registers, f"{name}_{part}") for part in ("base", "base_hi", "size"))
            m.d.comb += [self.regions[region].base.eq(Cat(base, base_hi)), self.regions[region].size.eq(size)]
        m.d.comb += [
            # Everything of a job begins with a fetched command.
            fetch.active.eq(job.active & ~self.read_stale & ~self.write_stale),
            fetch.halt.eq(job.halt),
            fetch.region.eq(self.regions[Region.PROGRAM]),
        ]
        for engine, name in zip(Engine, PORTS, strict=True):
            m.d.comb += [
                fetch.programs[engine].offset.eq(getattr(registers, f"{name}_program")),
                fetch.programs[engine].count.eq(getattr(registers, f"{name}_count")),
            ]

    def _connect_engine(self, m, engine, dispatcher, semaphores, registers, job):
        name = PORTS[engine]
        port = getattr(self, name)
        wiring.connect(m, dispatcher=dispatcher.command, engine=wiring.flipped(port.command))
        wiring.connect(m, engine=wiring.flipped(port.done), dispatcher=dispatcher.done)
        wiring.connect(m, dispatcher=dispatcher.semaphores, semaphores=getattr(semaphores, name))
        m.d.comb += [
            dispatcher.count.eq(getattr(registers, f"{name}_count")),
            dispatcher.halt.eq(job.halt),
            port.halt.eq(job.halt),
        ]

    def _connect_faults(self, m, job, fetch, semaphores, deadlock, dispatchers):
        for kind in ("read", "write"):
            fault = getattr(job, f"fault_{kind}_port")
            timed_out = getattr(self, f"{kind}_timed_out")
            broken = getattr(self, f"{kind}_broken")
            m.d.comb += [
                fault.valid.eq(timed_out | broken),
                fault.p.code.eq(Mux(broken, ErrorCode.AXI_PROTOCOL, ErrorCode.AXI_TIMEOUT)),
                # The port does not know whose access it was; name the engine whose traffic it carries.
                fault.p.engine.eq(Engine.LOAD if kind == "read" else Engine.STORE),
                fault.p.address.eq(getattr(self, f"{kind}_failed_address")),
            ]
        m.d.comb += job.dead.eq(job.fault_read_port.valid | job.fault_write_port.valid)
        for engine, dispatcher in zip(Engine, dispatchers, strict=True):
            port = getattr(self, PORTS[engine])
            own = getattr(job, f"fault_{PORTS[engine]}_engine")
            state = deadlock.streams[engine]
            m.d.comb += [
                own.valid.eq(port.error.valid),
                own.p.code.eq(port.error.p.code),
                own.p.engine.eq(engine),
                own.p.index.eq(port.error.p.index),
                own.p.layer.eq(port.error.p.layer),
                own.p.address.eq(port.error.p.address),
                state.finished.eq(dispatcher.finished),
                state.outstanding.eq(dispatcher.outstanding),
                state.busy.eq(port.busy),
                state.blocked.eq(dispatcher.blocked),
                state.index.eq(dispatcher.issued),
                state.layer.eq(dispatcher.layer),
            ]
            wiring.connect(m, dispatcher=dispatcher.fault, job=getattr(job, f"fault_{PORTS[engine]}_dispatch"))
        wiring.connect(m, fetch=fetch.fault, job=job.fault_fetch)
        wiring.connect(m, semaphores=semaphores.fault, job=job.fault_semaphores)
        wiring.connect(m, deadlock=deadlock.fault, job=job.fault_deadlock)

    def _connect_counters(self, m, registers, job, counters, tensor_dispatcher):
        done = self.tensor.done
        m.d.comb += [
            counters.start.eq(registers.doorbell_write),
            counters.running.eq(job.running),
            counters.activity.eq(self.tensor_activity),
            counters.blocked.eq(tensor_dispatcher.blocked),
            counters.read_beat.eq(self.read_beat),
            counters.write_beat.eq(self.write_beat & ~self.write_stale),
            counters.read.eq(registers.snapshot_read),
            counters.read_slot.eq(registers.snapshot_slot),
            counters.read_counter.eq(registers.snapshot_counter),
            registers.snapshot_data.eq(counters.read_data), registers.snapshot_written.eq(counters.snapshot),
        ]
        # One snapshot a cycle: that of ROWS waits for TENSOR's. Its next cannot come before: a command takes longer.
        waiting = Signal()
        slot = Signal.like(counters.snapshot_slot)
        tensor_wants = done.valid & done.p.snapshot
        rows_wants = self.rows.done.valid & self.rows.done.p.snapshot
        with m.If(tensor_wants):
            m.d.comb += counters.snapshot_slot.eq(done.p.layer)
        with m.Elif(waiting):
            m.d.comb += counters.snapshot_slot.eq(slot)
        with m.Else():
            m.d.comb += counters.snapshot_slot.eq(self.rows.done.p.layer)
        m.d.comb += counters.snapshot.eq((tensor_wants | rows_wants | waiting) & job.running)
        m.d.sync += waiting.eq(tensor_wants & (rows_wants | waiting))
        with m.If(rows_wants):
            m.d.sync += slot.eq(self.rows.done.p.layer)
        for name, _ in COUNTERS:
            m.d.comb += getattr(registers, name.lower()).eq(counters.values[name])
