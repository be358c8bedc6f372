"""The life of a job: doorbell, running, and done or an error stop."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Engine, ErrorCode
from lepton.arch.registers import Interrupt, State

from .faults import FAULT, fault_stream

# An engine may show `busy` as late as this many cycles after it has accepted a command, so the
# first cycles of a halt do not look at it.
SETTLE_CYCLES = 2


class Phase(enum.Enum):
    """Of a job; the STATUS register is coarser (`_STATUS`)."""

    IDLE = 0
    START = 1
    RUN = 2
    HALT = 3
    DONE = 4
    ERROR = 5


_STATUS = {
    Phase.IDLE: State.IDLE,
    Phase.START: State.RUNNING,
    Phase.RUN: State.RUNNING,
    Phase.HALT: State.RUNNING,
    Phase.DONE: State.DONE,
    Phase.ERROR: State.ERROR,
}


class JobController(wiring.Component):
    """`fault_<source>`, for every name in `sources`, stops the job; of several in one cycle the first in this
    order counts, then `abort`. Later ones are ignored. `halt` goes to the engines from the stop until the next
    job; the job ends when all of `busy` are low, or when `dead` (memory no longer answers, so they never will be).

    `start` begins a job (the caller makes sure that none runs): `engine_reset` is high in its first cycle, then
    `active`. `finished`: all commands have been executed. `reset` ends everything at once and leaves IDLE behind.
    """

    def __init__(self, sources: list[str]):
        self._sources = sources
        super().__init__({
            "start": In(1), "abort": In(1), "reset": In(1),
            "finished": In(1), "busy": In(len(Engine) + 1), "dead": In(1),
            "running": Out(1), "active": Out(1), "halt": Out(1), "engine_reset": Out(1),
            "status": Out(32), "error": Out(FAULT),
            "irq_clear": In(32), "irq_status": Out(32),
        } | {f"fault_{name}": In(fault_stream()) for name in sources})

    def elaborate(self, platform):
        m = Module()
        faults = [getattr(self, f"fault_{name}") for name in self._sources]
        phase = Signal(Phase)
        aborting = Signal()
        settle = Signal(range(SETTLE_CYCLES + 1))
        pending = Signal(len(Interrupt))
        m.d.comb += [
            self.irq_status.eq(pending),
            self.running.eq(self.status == State.RUNNING),
            self.active.eq(phase == Phase.RUN),
            self.halt.eq((phase == Phase.HALT) | (phase == Phase.ERROR)),
            self.engine_reset.eq((phase == Phase.START) | self.reset),
        ]
        m.d.sync += pending.eq(pending & ~self.irq_clear)
        with m.If(self.abort & self.running):
            m.d.sync += aborting.eq(1)

        with m.Switch(phase):
            for of_phase, status in _STATUS.items():
                with m.Case(of_phase):
                    m.d.comb += self.status.eq(status)
        with m.Switch(phase):
            with m.Case(Phase.START):
                m.d.sync += phase.eq(Phase.RUN)
            with m.Case(Phase.RUN):
                m.d.sync += settle.eq(SETTLE_CYCLES)
                with m.If(Cat(fault.valid for fault in faults).any() | aborting):
                    self._latch(m, faults)
                    m.d.sync += phase.eq(Phase.HALT)
                with m.Elif(self.finished):
                    m.d.sync += [phase.eq(Phase.DONE), _bit(pending, Interrupt.DONE).eq(1)]
            with m.Case(Phase.HALT):
                with m.If(settle != 0):
                    m.d.sync += settle.eq(settle - 1)
                with m.If(((settle == 0) & ~self.busy.any()) | self.dead):
                    m.d.sync += [phase.eq(Phase.ERROR), _bit(pending, Interrupt.ERROR).eq(1)]

        # These come last, so that they win over what the phases do.
        with m.If(self.start):
            m.d.sync += [phase.eq(Phase.START), self.error.eq(0), aborting.eq(0)]
        with m.If(self.reset):
            m.d.sync += [phase.eq(Phase.IDLE), self.error.eq(0), pending.eq(0)]
        return m

    def _latch(self, m, faults):
        m.d.sync += self.error.eq(data.Const(FAULT, ErrorCode.ABORTED))  # unless there is a fault
        for fault in reversed(faults):  # the last assignment wins: the first source is named
            with m.If(fault.valid):
                m.d.sync += self.error.eq(fault.p)


def _bit(mask, interrupt):
    return mask[interrupt.bit_length() - 1]
