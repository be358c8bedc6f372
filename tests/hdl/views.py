"""Blocks in a view of their own, whatever the platform asks for."""

from types import SimpleNamespace

from amaranth.hdl import Fragment, Module
from amaranth.lib import wiring
from lepton_hdl.views import View


class InView(wiring.Component):
    """`block`, written for `view`; the same ports."""

    def __init__(self, block: wiring.Component, view: View) -> None:
        self._block = block
        self._view = view
        super().__init__(block.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = Fragment.get(self._block, SimpleNamespace(view=self._view))
        wiring.connect(m, outside=wiring.flipped(self), block=self._block)
        return m
