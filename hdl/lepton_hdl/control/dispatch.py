"""The dispatcher of one engine: takes its commands in order, checks them, and takes their semaphores."""

from amaranth.hdl import Module, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig, Engine, ErrorCode
from lepton.arch.commands import ENGINE_OPCODES, ENGINE_RECORDS, SEMAPHORES

from ..interfaces import DONE, command_layout
from ..layouts import layout
from .faults import fault_stream
from .semaphores import SemaphoreSignature

# Commands that may be with the engine; more than any engine takes at once.
_IN_FLIGHT = 64


class Dispatcher(wiring.Component):
    """From the repeater (`i`; `last`: it is the last round of its record) to the engine (`command`), and back (`done`).

    A command is checked when it becomes the next one, before its semaphores: ILLEGAL_OPCODE (address = the opcode; any
    command of an engine that the chip does not have) or
    ILLEGAL_FIELD (a header byte that must be zero, or the layer of a snapshot for which the chip has
    no slot; address = the value). The fault is raised when all earlier commands of this engine have finished, so
    that what they do never depends on how far ahead this one was seen.
    The semaphores of a legal command are taken as soon as they are there, even while the engine is still
    busy with an earlier command. With `halt` no further command is shown to the engine; one already shown stays,
    as streams demand, and the engine is to leave it.

    `blocked` are the semaphores for which the next command waits, zero if it does not wait. `layer` is its layer,
    `issued` its index, that of its record. `finished`: as many records as `count` have finished. `outstanding`: some
    commands have been issued and have not finished.
    """

    def __init__(self, engine: Engine, config: ChipConfig):
        self._engine = engine
        self._config = config
        record = ENGINE_RECORDS[engine]
        super().__init__({
            "count": In(32),
            "halt": In(1),
            "i": In(stream.Signature(layout(record))),
            "last": In(1),
            "command": Out(stream.Signature(command_layout(record))),
            "done": In(stream.Signature(DONE, always_ready=True)),
            "semaphores": Out(SemaphoreSignature()),
            "fault": Out(fault_stream()),
            "blocked": Out(SEMAPHORES),
            "issued": Out(32),
            "layer": Out(16),
            "finished": Out(1),
            "outstanding": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        head = self.i.p
        acquired = Signal()
        faulty = Signal()
        checking = Signal()
        legal = Signal()
        # For each command with the engine: is it the last of its record?
        m.submodules.under_way = under_way = fifo.SyncFIFO(width=1, depth=_IN_FLIGHT)
        m.d.comb += [
            checking.eq(self.i.valid & ~acquired & ~self.halt & ~faulty & under_way.w_rdy),
            self.layer.eq(head.layer),
            self.semaphores.wait.eq(head.wait),
            self.command.p.record.eq(head),
            self.command.p.index.eq(self.issued),
            self.command.valid.eq(acquired),
            self.i.ready.eq(acquired & self.command.ready),
        ]
        with m.If(checking):
            m.d.comb += [self.semaphores.request.eq(legal)]
            with m.If(legal):
                m.d.comb += self.blocked.eq(self.semaphores.missing)
            self._check(m, head, legal)
        with m.If(self.fault.valid):
            m.d.sync += faulty.eq(1)
        with m.If(self.semaphores.grant):
            m.d.sync += acquired.eq(1)
        with m.Elif(self.command.ready):
            m.d.sync += acquired.eq(0)
        with m.If(self.i.ready):
            m.d.sync += self.issued.eq(self.issued + self.last)

        done = Signal(32)
        with m.If(self.done.valid):
            m.d.sync += done.eq(done + under_way.r_data)
        m.d.comb += [
            self.semaphores.post_valid.eq(self.done.valid),
            self.semaphores.post.eq(self.done.p.post),
            self.semaphores.post_index.eq(done),
            self.semaphores.post_layer.eq(self.done.p.layer),
            self.finished.eq(done == self.count),
            self.outstanding.eq(under_way.level != 0),
            under_way.w_data.eq(self.last), under_way.w_en.eq(self.i.ready), under_way.r_en.eq(self.done.valid),
        ]
        return m

    def _check(self, m, head, legal):
        fault = self.fault
        m.d.comb += [fault.p.engine.eq(self._engine), fault.p.index.eq(self.issued), fault.p.layer.eq(head.layer)]
        missing = self._engine is Engine.ROWS and not self._config.row_lanes
        opcodes = () if missing else ENGINE_OPCODES[self._engine]
        problems = [
            (~head.opcode.matches(*opcodes), ErrorCode.ILLEGAL_OPCODE, head.opcode),
            (head.reserved_header != 0, ErrorCode.ILLEGAL_FIELD, head.reserved_header),
        ]
        if "snapshot" in head.shape().members:
            no_slot = head.snapshot & (head.layer >= self._config.layer_slots)
            problems.append((no_slot, ErrorCode.ILLEGAL_FIELD, head.layer))
        m.d.comb += legal.eq(1)
        for wrong, code, value in reversed(problems):  # the last assignment wins: the first problem is named
            with m.If(wrong):
                m.d.comb += [
                    legal.eq(0),
                    fault.valid.eq(~self.outstanding),
                    fault.p.code.eq(code),
                    fault.p.address.eq(value),
                ]
