"""The ports of a block as ints."""

from cocotb.clock import Clock
from cocotb.handle import HierarchyObject, LogicArrayObject
from cocotb.triggers import FallingEdge, ReadOnly

from tests.bench.clock import PERIOD_NS, RESET_CYCLES


class Pins:
    """A driver and a monitor of single ports, by their names in the Verilog.

    A cycle of a test: `set` inputs after the falling edge, `settle` to `get` what follows from them combinationally,
    `tick` over the rising edge. Registered outputs are read after `tick`.
    """

    def __init__(self, dut: HierarchyObject) -> None:
        self.dut = dut
        self._handles: dict[str, LogicArrayObject] = {}

    def _handle(self, name: str) -> LogicArrayObject:
        if name not in self._handles:
            self._handles[name] = getattr(self.dut, name)
        return self._handles[name]

    async def start(self, **inputs: int) -> None:
        """Set the inputs, start the clock and reset. Returns after a falling edge."""
        self.set(rst=1, **inputs)
        Clock(self.dut.clk, PERIOD_NS, unit="ns").start()
        for _ in range(RESET_CYCLES):
            await self.tick()
        self.set(rst=0)

    def set(self, **inputs: int) -> None:
        """Set inputs; negative values as two's complement."""
        for name, value in inputs.items():
            handle = self._handle(name)
            handle.value = int(value) & ((1 << len(handle)) - 1)

    def get(self, name: str) -> int:
        """The value of a port, unsigned."""
        return int(self._handle(name).value)

    def signed(self, name: str) -> int:
        """The value of a port as two's complement."""
        return signed(self.get(name), len(self._handle(name)))

    async def settle(self) -> None:
        """Wait until combinational outputs follow the inputs; nothing may be set before the next `tick`."""
        await ReadOnly()

    async def tick(self) -> None:
        """Over the next rising edge, to the falling edge behind it."""
        await FallingEdge(self.dut.clk)


def signed(value: int, bits: int) -> int:
    """The low `bits` of `value` as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
