"""A block with plain ports, so that one with `always_ready` streams can be the top of a Verilog design."""

from amaranth.hdl import Const, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Exposed(wiring.Component):
    """`component` with one port per leaf of its signature, named as Amaranth would name it (`load__done__valid`).

    Ports that are constants (the `ready` of an `always_ready` stream) are left out: Amaranth 0.5 cannot
    make a port of them.
    """

    def __init__(self, component: wiring.Component):
        self._component = component
        self._leaves = {}
        members = {}
        for path, member, value in component.signature.flatten(component):
            value = Value.cast(value)
            if isinstance(value, Const):
                continue
            name = "__".join(map(str, path))
            self._leaves[name] = (member.flow, value)
            members[name] = (Out if member.flow is Out else In)(unsigned(len(value)))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.block = self._component
        for name, (flow, value) in self._leaves.items():
            port = getattr(self, name)
            m.d.comb += port.eq(value) if flow is Out else value.eq(port)
        # A block without registers still gets the clock that its test waits for.
        beat = Signal()
        m.d.sync += beat.eq(~beat)
        return m
