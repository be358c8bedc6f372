"""Driver and monitor of Amaranth streams (`valid`, `ready`, `payload`).

All work at rising edges: what they read there is what the block's registers see at the same edge; what they set
counts from the next edge on.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import cocotb
from cocotb.handle import HierarchyObject, LogicArrayObject
from cocotb.triggers import RisingEdge

from tests.bench.stalls import NONE, Stall, stall

Item = TypeVar("Item")


def port(dut: HierarchyObject, stream: str, name: str) -> LogicArrayObject:
    """A port of the stream whose ports are named `{stream}__valid` and so on."""
    return getattr(dut, f"{stream}__{name}")


def has_port(dut: HierarchyObject, stream: str, name: str) -> bool:
    """Whether the stream has this port. A stream that is always ready has no `ready`."""
    return getattr(dut, f"{stream}__{name}", None) is not None


class StreamDriver(Generic[Item]):
    """Offers items in the order in which they are sent; an offered item stays until it is taken.

    `pack` makes the bits of an item. `pause` says in which cycles no new item is offered.
    """

    def __init__(self, dut: HierarchyObject, stream: str, pack: Callable[[Item], int],
                 pause: Stall | None = None) -> None:
        self.dut = dut
        self.stream = stream
        self.taken = 0  # items
        self._pack = pack
        self._pause = pause or stall(NONE)
        self._waiting: deque[Item] = deque()
        self._offered = False
        self._withdraw = False
        port(dut, stream, "valid").value = 0
        self._task = cocotb.start_soon(self._run())

    def send(self, *items: Item) -> None:
        """Queue items."""
        self._waiting.extend(items)

    @property
    def idle(self) -> bool:
        """Whether every item was taken."""
        return not self._waiting

    def withdraw(self) -> None:
        """Withdraw every item at the next edge, the offered one included: at that edge the driver's side is reset.

        Items sent after this call are kept.
        """
        self._waiting.clear()
        self._withdraw = True

    def clear(self) -> None:
        """Withdraw every item, the offered one included: only while the block is in reset."""
        self._waiting.clear()
        self._offered = False
        port(self.dut, self.stream, "valid").value = 0

    def stop(self) -> None:
        """Drive nothing any more."""
        self._task.cancel()

    async def _run(self) -> None:
        valid = port(self.dut, self.stream, "valid")
        payload = port(self.dut, self.stream, "payload")
        ready = port(self.dut, self.stream, "ready") if has_port(self.dut, self.stream, "ready") else None
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value:
                continue
            if self._withdraw:
                self._withdraw = False
                self._offered = False
                valid.value = 0
                continue
            if self._offered and (ready is None or ready.value):
                self._waiting.popleft()
                self.taken += 1
                self._offered = False
            if not self._offered and self._waiting and not self._pause():
                payload.value = self._pack(self._waiting[0])
                self._offered = True
            valid.value = self._offered


class ReadyDriver:
    """Takes what a stream offers; pauses in the cycles that `pause` says, and while it is `blocked`."""

    def __init__(self, dut: HierarchyObject, stream: str, pause: Stall | None = None) -> None:
        self.dut = dut
        self.stream = stream
        self.pause = pause or stall(NONE)
        self.blocked = False
        port(dut, stream, "ready").value = 0
        self._task = cocotb.start_soon(self._run())

    def stop(self) -> None:
        """Drive nothing any more."""
        self._task.cancel()

    async def _run(self) -> None:
        ready = port(self.dut, self.stream, "ready")
        while True:
            await RisingEdge(self.dut.clk)
            ready.value = not self.blocked and not self.pause()


class StreamMonitor(Generic[Item]):
    """Reports every item that is transferred, and checks the rules of a stream.

    `unpack` makes an item of the bits; `report` is called with each. `times` holds the cycle of each transfer.
    Fails where an item that was offered and not taken is withdrawn or changed. With `reset` (a port's name, or a
    condition) high, or the block in reset, the stream has no rules and nothing is reported. `defined(number, bits)`
    clears the bits of an item, given by its number, that have no meaning and so may change.
    """

    def __init__(self, dut: HierarchyObject, stream: str, unpack: Callable[[int], Item],
                 report: Callable[[Item], object] | None = None, *,
                 reset: str | Callable[[], object] = "rst",
                 defined: Callable[[int, int], int] = lambda number, bits: bits) -> None:
        self.dut = dut
        self.stream = stream
        self.items: list[Item] = []
        self.times: list[int] = []
        self.now = 0  # rising edges outside reset
        self._unpack = unpack
        self.report = report
        self._reset = reset if callable(reset) else lambda: getattr(dut, reset).value
        self._defined = defined
        self._task = cocotb.start_soon(self._run())

    def stop(self) -> None:
        """Watch no longer."""
        self._task.cancel()

    def clear(self) -> None:
        """Forget the items and their times."""
        self.items.clear()
        self.times.clear()

    async def _run(self) -> None:
        valid = port(self.dut, self.stream, "valid")
        payload = port(self.dut, self.stream, "payload")
        ready = port(self.dut, self.stream, "ready") if has_port(self.dut, self.stream, "ready") else None
        held: int | None = None
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.rst.value or self._reset():
                held = None
                continue
            self.now += 1
            if not valid.value:
                assert held is None, f"{self.stream}: an item was withdrawn before it was taken"
                continue
            bits = self._defined(len(self.items), int(payload.value))
            assert held in (None, bits), f"{self.stream}: an item was changed before it was taken"
            if ready is not None and not ready.value:
                held = bits
                continue
            held = None
            self.times.append(self.now)
            item = self._unpack(bits)
            self.items.append(item)
            if self.report is not None:
                self.report(item)
