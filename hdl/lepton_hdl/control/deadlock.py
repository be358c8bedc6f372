"""Notices that no engine can ever go on."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Engine, ErrorCode
from lepton.arch.commands import SEMAPHORES

from .faults import fault_stream

# One dispatcher, seen from outside.
STREAM_STATE = data.StructLayout({
    "finished": 1, "outstanding": 1, "busy": 1, "blocked": SEMAPHORES, "index": 32, "layer": 16,
})


class DeadlockDetector(wiring.Component):
    """A deadlock is: no engine has anything under way, at least one stream has commands left, and the next
    command of each of those waits for a semaphore. Only a finishing command posts, so this never ends by itself.

    The fault names the first such engine; its address is the mask of the missing semaphores.
    """

    streams: In(data.ArrayLayout(STREAM_STATE, len(Engine)))
    fault: Out(fault_stream())

    def elaborate(self, platform):
        m = Module()
        streams = [self.streams[engine] for engine in Engine]
        still = [~s.outstanding & ~s.busy for s in streams]
        stuck = [s.blocked.any() for s in streams]
        m.d.comb += [
            self.fault.valid.eq(Cat(still).all() & Cat(stuck).any()
                                & Cat(s.finished | b for s, b in zip(streams, stuck, strict=True)).all()),
            self.fault.p.code.eq(ErrorCode.DEADLOCK),
        ]
        for engine in reversed(Engine):  # the last assignment wins: the first engine is named
            with m.If(stuck[engine]):
                s = streams[engine]
                m.d.comb += [
                    self.fault.p.engine.eq(engine), self.fault.p.index.eq(s.index),
                    self.fault.p.layer.eq(s.layer), self.fault.p.address.eq(s.blocked),
                ]
        return m
