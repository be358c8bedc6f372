"""A block of which one output is wrong, as its bench sees it: for the tests of monitors and checkers."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cocotb.handle import HierarchyObject, LogicArrayObject


class WrongOutput:
    """An output whose bits in `mask` read inverted, or as 0 if `clear`, while `when()` holds; asked at every read."""

    def __init__(self, handle: LogicArrayObject, mask: int, clear: bool, when: Callable[[], bool]) -> None:
        self._handle = handle
        self._mask = mask
        self._clear = clear
        self._when = when

    @property
    def value(self) -> int:
        """What the bench reads."""
        bits = int(self._handle.value)
        if not self._when():
            return bits
        return bits & ~self._mask if self._clear else bits ^ self._mask

    def __len__(self) -> int:
        return len(self._handle)


class Disturbed:
    """A design to be given to a bench in place of the real one. Reads of the output `port` come out wrong.

    The block itself is sound, so no model is built for it. `when` reads ports of the real design.
    """

    def __init__(self, dut: HierarchyObject, port: str, mask: int, clear: bool, when: Callable[[], bool]) -> None:
        self._dut = dut
        self._port = port
        self._wrong = WrongOutput(getattr(dut, port), mask, clear, when)

    def __getattr__(self, name: str) -> object:
        return self._wrong if name == self._port else getattr(self._dut, name)


class _WhileHeld:
    """Once, at the second of two reads in a row at which a channel offers something that is not taken."""

    def __init__(self, dut: HierarchyObject, channel: str) -> None:
        self._valid: LogicArrayObject = getattr(dut, f"{channel}valid")
        self._ready: LogicArrayObject = getattr(dut, f"{channel}ready")
        self._before = False
        self._done = False

    def __call__(self) -> bool:
        held = bool(self._valid.value) and not self._ready.value
        now = held and self._before and not self._done
        self._before = held
        self._done |= now
        return now


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
        when = _WhileHeld(dut, self.held) if self.held else self._late()
        return Disturbed(dut, self.port, self.mask, self.clear, when)

    def _late(self) -> Callable[[], bool]:
        reads = 0

        def reached() -> bool:
            nonlocal reads
            reads += 1
            return reads > self.first

        return reached


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
