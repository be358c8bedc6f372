"""The sixteen counting semaphores through which the engines wait for one another."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import Engine, ErrorCode
from lepton.arch.commands import SEMAPHORES

from .faults import fault_stream

COUNT_BITS = 8  # a post to a semaphore that is at 255 ends the job with SEMAPHORE_OVERFLOW


class SemaphoreSignature(wiring.Signature):
    """One engine's side, as its dispatcher sees it.

    `request` asks for one of every semaphore in `wait`, and `missing` are those of them at zero.
    In a cycle with `grant` all have been taken. `post` gives one to each of its semaphores while
    `post_valid`; it belongs to the command `post_index` of layer `post_layer`.
    """

    def __init__(self):
        super().__init__({
            "request": Out(1),
            "wait": Out(SEMAPHORES),
            "missing": In(SEMAPHORES),
            "grant": In(1),
            "post_valid": Out(1),
            "post": Out(SEMAPHORES),
            "post_index": Out(32),
            "post_layer": Out(16),
        })


class Semaphores(wiring.Component):
    """All semaphores start at zero. One request is granted a cycle, LOAD before TENSOR before STORE before
    ROWS, so that two engines never take the same count; all four may post at once, and what is posted in one
    cycle can be taken in the next.

    A post beyond 255 is SEMAPHORE_OVERFLOW, blamed on the first engine that posted to such a semaphore;
    the address is the mask of those that overflowed. Their counts stay at 255.
    """

    def __init__(self):
        super().__init__({engine.name.lower(): In(SemaphoreSignature()) for engine in Engine}
                         | {"fault": Out(fault_stream())})

    def elaborate(self, platform):
        m = Module()
        ports = [getattr(self, engine.name.lower()) for engine in Engine]
        counts = Signal(data.ArrayLayout(COUNT_BITS, SEMAPHORES))
        empty = Signal(SEMAPHORES)
        m.d.comb += empty.eq(Cat(count == 0 for count in counts))

        taken = Signal(SEMAPHORES)
        granted = 0
        for port in ports:
            m.d.comb += [
                port.missing.eq(port.wait & empty),
                port.grant.eq(port.request & (port.missing == 0) & ~granted),
            ]
            with m.If(port.grant):
                m.d.comb += taken.eq(port.wait)
            granted = granted | port.grant

        posts = [Signal(SEMAPHORES, name=f"post_{engine.name.lower()}") for engine in Engine]
        for post, port in zip(posts, ports, strict=True):
            m.d.comb += post.eq(Mux(port.post_valid, port.post, 0))
        overflow = Signal(SEMAPHORES)
        # What a count changes by, -1 to 4, in bits: four posts less what is taken. One addition a count, not five.
        load, tensor, store, rows = posts
        change = [Signal(SEMAPHORES, name=f"change_{name}") for name in ("ones", "twos", "fours", "sign")]
        odd = load ^ tensor ^ store ^ rows
        twos = (load & tensor) ^ (store & rows) ^ ((load ^ tensor) & (store ^ rows))
        fours = load & tensor & store & rows
        m.d.comb += [signal.eq(value) for signal, value in zip(change, (
            odd ^ taken, twos ^ (taken & ~odd), fours ^ (taken & ~odd & ~twos), taken & ~odd & ~twos & ~fours),
            strict=True)]
        with m.If(Cat(taken, posts).any()):
            for i, count in enumerate(counts):
                total = Signal(COUNT_BITS + 1, name=f"total_{i}")
                # A count is taken only where it is above zero, so the sum is never negative.
                m.d.comb += total.eq(count + Cat(bits[i] for bits in change).as_signed())
                m.d.comb += overflow[i].eq(total[COUNT_BITS])
                m.d.sync += count.eq(total[:COUNT_BITS] | overflow[i].replicate(COUNT_BITS))

        m.d.comb += [self.fault.p.code.eq(ErrorCode.SEMAPHORE_OVERFLOW), self.fault.p.address.eq(overflow)]
        for engine in reversed(Engine):  # the last assignment wins: the first engine is named
            port = ports[engine]
            with m.If((posts[engine] & overflow).any()):
                m.d.comb += [
                    self.fault.valid.eq(1),
                    self.fault.p.engine.eq(engine),
                    self.fault.p.index.eq(port.post_index),
                    self.fault.p.layer.eq(port.post_layer),
                ]
        return m
