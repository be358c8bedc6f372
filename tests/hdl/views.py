"""Blocks in a view of their own, whatever the platform asks for."""

from types import SimpleNamespace

from amaranth.hdl import Fragment, Module
from amaranth.lib import wiring
from lepton_hdl.views import View


class InView(wiring.Component):
    """`block`, written for `view`, of a device with this number of `multipliers`; the same ports."""

    def __init__(self, block: wiring.Component, view: View, multipliers: int | None = None) -> None:
        self._block = block
        self._platform = SimpleNamespace(view=view, multipliers=multipliers)
        super().__init__(block.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = Fragment.get(self._block, self._platform)
        wiring.connect(m, outside=wiring.flipped(self), block=self._block)
        return m
