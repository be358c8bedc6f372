"""Checkers: what monitors report must be what the model expects."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from tests.bench.pins import Pins

Item = TypeVar("Item")


class InOrder(Generic[Item]):
    """Items must come in the order in which they are expected, each once, and none besides them.

    `receive` fails at the first item that differs; `finish` fails if items are missing.
    """

    def __init__(self, name: str, expected: Iterable[Item] = ()) -> None:
        self.name = name
        self.received = 0
        self._expected: deque[Item] = deque(expected)

    def expect(self, *items: Item) -> None:
        """Add items to the end of what must come."""
        self._expected.extend(items)

    def forget(self) -> None:
        """Expect nothing more: the block was reset."""
        self._expected.clear()

    @property
    def missing(self) -> int:
        """How many expected items have not come."""
        return len(self._expected)

    def receive(self, item: Item) -> None:
        """Compare one item. To be given to a monitor as its `report`."""
        assert self._expected, f"{self.name}: item {self.received} was not expected: {item}"
        wanted = self._expected.popleft()
        assert item == wanted, f"{self.name}: item {self.received} is {item}, not {wanted}"
        self.received += 1

    @property
    def complete(self) -> bool:
        """Whether everything that is expected has come."""
        return not self._expected

    def finish(self) -> None:
        """Fail if anything that is expected has not come, or if nothing was ever compared."""
        assert not self._expected, f"{self.name}: {len(self._expected)} items are missing, first {self._expected[0]}"
        assert self.received, f"{self.name}: nothing was compared"


class Outputs:
    """Ports must show what the model says they show in this cycle."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.compared = 0

    def check(self, expected: Mapping[str, int], where: object = "") -> None:
        """Compare the ports named; negative values as two's complement. `where` goes into the message."""
        for name, value in expected.items():
            got = self.pins.signed(name) if value < 0 else self.pins.get(name)
            assert got == value, f"{name} is {got}, not {int(value)}; {where}"
            self.compared += 1
