"""A block of which one output is wrong, as its bench sees it: for the tests of monitors and checkers.

The block itself is sound, so no model is built for it. `DamagedPins` shows one wrong bit to a bench that reads ports by
name; `PlantedError` gives a disturbed design to a bench that must fail with a message.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from cocotb.handle import HierarchyObject, LogicArrayObject

from tests.bench.pins import Pins

When = Callable[[int], bool]  # given what an output shows, whether this read of it comes out wrong


class WrongOutput:
    """An output whose bits in `mask` read inverted, or as 0 if `clear`, while `when` holds; asked at every read."""

    def __init__(self, handle: LogicArrayObject, mask: int, clear: bool, when: When) -> None:
        self._handle = handle
        self._mask = mask
        self._clear = clear
        self._when = when

    @property
    def value(self) -> int:
        """What the bench reads."""
        bits = int(self._handle.value)
        if not self._when(bits):
            return bits
        return bits & ~self._mask if self._clear else bits ^ self._mask

    def __len__(self) -> int:
        return len(self._handle)


class Disturbed:
    """A design to be given to a bench in place of the real one. Reads of the output `port` come out wrong.

    `when` may read ports of the real design.
    """

    def __init__(self, dut: HierarchyObject, port: str, mask: int, clear: bool, when: When) -> None:
        self._dut = dut
        self._port = port
        self._wrong = WrongOutput(getattr(dut, port), mask, clear, when)

    def __getattr__(self, name: str) -> object:
        return self._wrong if name == self._port else getattr(self._dut, name)


class Once:
    """At a single read: at number `read`, from 0 on, of those that find `value`, or of all reads."""

    def __init__(self, read: int, value: int | None = None) -> None:
        self._left = read
        self._value = value

    @property
    def happened(self) -> bool:
        """Whether the wrong value has been shown."""
        return self._left < 0

    def __call__(self, bits: int) -> bool:
        if self.happened or self._value not in (None, bits):
            return False
        self._left -= 1
        return self.happened


class _OnceWhileHeld:
    """Once, at the second of two reads in a row at which a channel offers something that is not taken."""

    def __init__(self, dut: HierarchyObject, channel: str) -> None:
        self._valid: LogicArrayObject = getattr(dut, f"{channel}valid")
        self._ready: LogicArrayObject = getattr(dut, f"{channel}ready")
        self._before = False
        self._done = False

    def __call__(self, bits: int) -> bool:
        held = bool(self._valid.value) and not self._ready.value
        now = held and self._before and not self._done
        self._before = held
        self._done |= now
        return now


class _From:
    """At every read from number `first` on."""

    def __init__(self, first: int) -> None:
        self._left = first

    def __call__(self, bits: int) -> bool:
        self._left -= 1
        return self._left < 0


class DamagedPins(Pins):
    """Pins that show one wrong bit of the output `port`, at the single read that `Once` says."""

    def __init__(self, dut: HierarchyObject, port: str, read: int = 20, bit: int = 0,
                 value: int | None = None) -> None:
        super().__init__(dut)
        self.port = port
        self._once = Once(read, value)
        self._handles[port] = WrongOutput(getattr(dut, port), 1 << bit, False, self._once)

    @contextmanager
    def reported(self, message: str = "") -> Iterator[None]:
        """Fails unless the wrong bit is shown inside and an assertion with this message (a pattern) follows."""
        with pytest.raises(AssertionError, match=message):
            yield
        assert self._once.happened, f"{self.port} was not looked at often enough"


@dataclass(frozen=True)
class PlantedError:
    """An output that is wrong, and the message (a regular expression) with which the bench must fail.

    The bits in `mask` read inverted, or as 0 if `clear`: from the read number `first` on, or if `held` names a channel
    (the text before "valid" and "ready" in its ports) once, while an offer on it is waiting to be taken.
    """

    port: str
    message: str
    mask: int = 1
    first: int = 0
    held: str = ""
    clear: bool = False

    def planted(self, dut: HierarchyObject) -> Disturbed:
        """The design with this error."""
        when = _OnceWhileHeld(dut, self.held) if self.held else _From(self.first)
        return Disturbed(dut, self.port, self.mask, self.clear, when)


def check_messages(problems: dict[str, str], errors: Sequence[PlantedError]) -> None:
    """Fail unless each planted error was reported with its message.

    `problems`: messages by the names of tests, from `failing_cocotb`. The names end in the error's number, as that of a
    test with `@cocotb.parametrize(number=range(len(errors)))`.
    """
    reported = {int(name.rpartition("=")[2]): message for name, message in problems.items()}
    assert sorted(reported) == list(range(len(errors))), f"not every planted error was tried: {sorted(reported)}"
    wrong = [f"{error} was reported with {reported[number]!r}" for number, error in enumerate(errors)
             if not re.search(error.message, reported[number])]
    assert not wrong, "\n".join(wrong)
