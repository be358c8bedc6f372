"""Starts the staged job as soon as the chip is free, and saves what the last one counted."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import REGISTERS, Region
from lepton.arch.controller import (
    CONTROLLER_REGISTERS,
    LAUNCH_COPIED,
    RESULT_COUNTERS,
    RESULT_ERRORS,
    STORED_BASE,
    WINDOW_BASE,
    WINDOW_STRIDE,
)
from lepton.arch.registers import ADDRESS_BITS, State

from .bus import BusSignature
from .stored import WORD_BITS


def _word(name: str) -> int:
    return (CONTROLLER_REGISTERS[name].offset - STORED_BASE) // 4


# (stored word, the chip's register) pairs, in the order in which they are copied.
COPIED = [(_word(f"LAUNCH_{name}"), REGISTERS[name].offset) for name in LAUNCH_COPIED]
RESULTS = [(_word(f"RESULT_{name}"), REGISTERS[name].offset)
           for name in ("STATUS", *RESULT_COUNTERS, *RESULT_ERRORS)]
DONE_RESULTS = 1 + len(RESULT_COUNTERS)  # after a job that is done, the error registers say nothing
OFFSETS = [_word(f"LAUNCH_{region.name}") for region in Region]
BASES = [REGISTERS[f"{region.name}_BASE"].offset for region in Region]
STARTED_BITS = 8  # bits 15:8 of LAUNCH_STATUS
AHEAD = 2  # a deadline must not have passed before it can be seen


def _pick(m, table, index, name):
    """An entry of a constant table."""
    value = Signal(range(max(table) + 1), name=name)
    with m.Switch(index):
        for i, entry in enumerate(table):
            with m.Case(i):
                m.d.comb += value.eq(entry)
    return value


class Launcher(wiring.Component):
    """`stage` (with `window` and `limit`) makes a job of the LAUNCH registers wait for the chip; `cancel` forgets it
    while it waits. Regions are added to the window's base; a job with a region beyond the window's end is
    `refused` and not started. The words of the LAUNCH registers may be written when `staged` is low again.

    When a job has ended (`job_running` is low), its counters are copied to the RESULT registers;
    then `result` is high until `acknowledge`. If it ended in an error the next job also waits for that (`held`).

    `event`: a result is there, or a job was refused. While `armed`, the running job may go on until `time` is
    `deadline`: `due` must be high in that cycle. Then follows `limit_event`, and `expired` until the next start.
    `started` counts the jobs started; `time` was `start_time` when the job of the results began.

    Nothing changes while `busy` is low, unless `watching` a job that has ended, `due`, or one of the first three.
    """

    def __init__(self):
        super().__init__({
            "stage": In(1), "cancel": In(1), "acknowledge": In(1), "window": In(4), "limit": In(32), "time": In(64),
            "staged": Out(1), "running": Out(1), "result": Out(1), "held": Out(1), "refused": Out(1), "expired": Out(1),
            "started": Out(STARTED_BITS), "start_time": Out(64),
            "event": Out(1), "limit_event": Out(1),
            "armed": Out(1), "deadline": Out(32), "due": In(1), "busy": Out(1), "watching": Out(1),
            "job_running": In(1),
            "stored": Out(BusSignature(WORD_BITS)),
            "chip": Out(BusSignature(ADDRESS_BITS)),
        })

    def elaborate(self, platform):
        m = Module()
        stored = self.stored
        step = Signal(range(max(len(RESULTS), len(COPIED)) + 1))
        region = Signal(range(len(Region)))
        base = Signal(64)
        size = Signal(32)  # of the window
        address = Signal(64)
        length = Signal(32)  # of the region
        failed = Signal()
        cancelling = Signal()
        job_running = Signal()
        started_at = Signal(64)  # of the running job
        m.d.sync += [self.event.eq(0), self.limit_event.eq(0)]

        with m.If(self.acknowledge):
            m.d.sync += [self.result.eq(0), self.held.eq(0)]
        with m.If(self.stage):
            m.d.sync += [self.staged.eq(1), self.refused.eq(0)]
        with m.If(self.cancel):
            m.d.sync += cancelling.eq(self.staged)
        with m.If(self.due):
            m.d.sync += [self.armed.eq(0), self.expired.eq(1), self.limit_event.eq(1)]
        m.d.sync += job_running.eq(self.job_running)
        m.d.comb += self.busy.eq(1)

        copy_from = _pick(m, [word for word, _ in COPIED], step, "copy_from")
        copy_to = _pick(m, [register for _, register in COPIED], step, "copy_to")
        save_from = _pick(m, [register for _, register in RESULTS], step, "save_from")
        save_to = _pick(m, [word for word, _ in RESULTS], step, "save_to")
        offset_word = _pick(m, OFFSETS, region, "offset_word")
        base_register = _pick(m, BASES, region, "base_register")

        window_word = (WINDOW_BASE - STORED_BASE) // 4 + self.window * (WINDOW_STRIDE // 4)
        value = Signal(32)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [step.eq(0), region.eq(0)]
                m.d.comb += self.busy.eq((self.staged & ~self.held) | cancelling | self.event | self.limit_event)
                with m.If(cancelling):
                    m.d.sync += [self.staged.eq(0), cancelling.eq(0)]
                with m.Elif(self.staged & ~self.held):
                    m.next = "WINDOW"
            with m.State("WINDOW"), self._read_stored(m, window_word + step):
                m.d.sync += step.eq(step + 1)
                with m.Switch(step):
                    with m.Case(0):
                        m.d.sync += base[:32].eq(stored.read_data)
                    with m.Case(1):
                        m.d.sync += base[32:].eq(stored.read_data)
                    with m.Default():
                        m.d.sync += [size.eq(stored.read_data), step.eq(0)]
                        m.next = "OFFSET"
            # All regions are written before any stream; a refusal leaves no trace but in registers that the next job
            # writes anew.
            with m.State("OFFSET"), self._read_stored(m, offset_word):
                m.d.sync += [address.eq(base + stored.read_data), value.eq(stored.read_data)]
                m.next = "SIZE"
            with m.State("SIZE"), self._read_stored(m, offset_word + 1):
                m.d.sync += length.eq(stored.read_data)
                m.next = "BASE"
                with m.If(value + stored.read_data > size):
                    m.next = "REFUSE"
            with m.State("BASE"), self._write_chip(m, base_register, address[:32]):
                m.next = "BASE_HI"
            with m.State("BASE_HI"), self._write_chip(m, base_register + 4, address[32:]):
                m.next = "LENGTH"
            with m.State("LENGTH"), self._write_chip(m, base_register + 8, length):
                m.d.sync += region.eq(region + 1)
                m.next = "OFFSET"
                with m.If(region == len(Region) - 1):
                    m.next = "TAKE"
            with m.State("TAKE"), self._read_stored(m, copy_from):
                m.d.sync += value.eq(stored.read_data)
                m.next = "GIVE"
            with m.State("GIVE"), self._write_chip(m, copy_to, value):
                m.d.sync += step.eq(step + 1)
                m.next = "TAKE"
                with m.If(step == len(COPIED) - 1):
                    m.next = "DOORBELL"
            with m.State("DOORBELL"):
                with m.If(cancelling):  # the last moment for it
                    m.next = "IDLE"
                with m.Else():
                    m.next = "RING"
            with m.State("RING"), self._write_chip(m, REGISTERS["DOORBELL"].offset, 1):
                m.d.sync += [self.staged.eq(0), self.running.eq(1), self.started.eq(self.started + 1),
                             started_at.eq(self.time), step.eq(0), cancelling.eq(0), self.expired.eq(0),
                             self.armed.eq(self.limit != 0), self.deadline.eq(self.time + self.limit + AHEAD)]
                m.next = "RUN"
            self._run_and_save(m, step, cancelling, job_running, failed, started_at, value, save_from, save_to)
            with m.State("REFUSE"):
                m.d.sync += [self.staged.eq(0), self.refused.eq(1), self.event.eq(1)]
                m.next = "IDLE"
        return m

    def _read_stored(self, m, word):
        """Reads a stored word; the body runs when `stored.read_data` is there."""
        m.d.comb += [self.stored.valid.eq(1), self.stored.address.eq(word)]
        return m.If(self.stored.done)

    def _write_chip(self, m, register, value):
        """Writes a register of the chip; the body runs when it is written."""
        chip = self.chip
        m.d.comb += [chip.valid.eq(1), chip.write.eq(1), chip.address.eq(register), chip.write_data.eq(value)]
        return m.If(chip.done)

    def _run_and_save(self, m, step, cancelling, job_running, failed, started_at, value, save_from, save_to):
        """The states in which the job runs, and in which its counters are copied to the RESULT registers."""
        stored = self.stored
        chip = self.chip
        with m.State("RUN"):
            m.d.comb += [self.busy.eq(cancelling | self.event | self.limit_event), self.watching.eq(1)]
            with m.If(cancelling):
                m.d.sync += [self.staged.eq(0), cancelling.eq(0)]
            with m.If(~job_running & ~self.result):
                m.d.sync += self.armed.eq(0)
                m.next = "READ"
        with m.State("READ"):
            m.d.comb += [chip.valid.eq(1), chip.address.eq(save_from)]
            with m.If(chip.done):
                m.d.sync += value.eq(chip.read_data)
                m.next = "SAVE"
        with m.State("SAVE"):
            m.d.comb += [stored.valid.eq(1), stored.write.eq(1), stored.address.eq(save_to),
                         stored.write_data.eq(value)]
            with m.If(stored.done):
                m.d.sync += step.eq(step + 1)
                m.next = "READ"
                with m.If(step == 0):
                    m.d.sync += [failed.eq(value != State.DONE), self.start_time.eq(started_at)]
                with m.Elif(step == Mux(failed, len(RESULTS), DONE_RESULTS) - 1):
                    m.d.sync += [self.running.eq(0), self.result.eq(1), self.held.eq(failed), self.event.eq(1)]
                    m.next = "IDLE"
