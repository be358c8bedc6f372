"""A planted error between a sound block and the bench: what a monitor or a checker must report."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cocotb.handle import HierarchyObject

from tests.bench.pins import Pins


class DamagedPins(Pins):
    """Pins that show one wrong bit of one output, once: in the `read`-th look at `port`, from 0 on.

    With `value` only looks that find this value are counted, as a `valid` that is wrong may do no harm otherwise.
    """

    def __init__(self, dut: HierarchyObject, port: str, read: int = 20, bit: int = 0,
                 value: int | None = None) -> None:
        super().__init__(dut)
        self.port = port
        self._left = read
        self._value = value
        self._bit = bit

    @property
    def damaged(self) -> bool:
        """Whether the wrong bit has been shown."""
        return self._left < 0

    def get(self, name: str) -> int:
        value = super().get(name)
        if name != self.port or self.damaged or self._value not in (None, value):
            return value
        self._left -= 1
        return value ^ 1 << self._bit if self.damaged else value

    @contextmanager
    def reported(self, message: str = "") -> Iterator[None]:
        """Fails unless the wrong bit is shown inside and an assertion with this message (a pattern) follows."""
        with pytest.raises(AssertionError, match=message):
            yield
        assert self.damaged, f"{self.port} was not looked at often enough"
