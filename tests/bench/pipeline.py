"""What is in each stage of a pipeline that never stalls, as seen from outside."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Stages(Generic[Item]):
    """`at(0)` is what enters in this cycle, `at(depth)` what leaves. `advance` goes on to the next cycle."""

    def __init__(self, depth: int) -> None:
        self._line: deque[Item | None] = deque([None] * (depth + 1))

    def advance(self, entering: Item | None) -> None:
        self._line.pop()
        self._line.appendleft(entering)

    def at(self, stage: int) -> Item | None:
        return self._line[stage]

    @property
    def leaving(self) -> Item | None:
        """What is in the last stage."""
        return self._line[-1]

    @property
    def empty(self) -> bool:
        return not any(item is not None for item in self._line)
