"""The patterns in which a driver pauses. Each random test of a block runs with and without pauses."""

import random
from collections.abc import Callable, Iterator

Stall = Callable[[], bool]
"""Called once a cycle; True: pause in this cycle."""

NONE = "none"
SOME = "some"
MOST = "most"
BURSTS = "bursts"
STALLS = (NONE, SOME, MOST, BURSTS)

_SHARES = {NONE: 0.0, SOME: 0.3, MOST: 0.9}
_LONGEST_BURST = 24  # cycles; longer than every queue of the chip is deep, so that each fills up and runs empty


def share(probability: float) -> Stall:
    """Pauses in each cycle with this probability, independently of the others."""
    return lambda: random.random() < probability


def bursts(longest: int = _LONGEST_BURST) -> Stall:
    """Runs of 1 to `longest` cycles without a pause, and pauses of the same lengths, in turn."""

    def pattern() -> Iterator[bool]:
        pause = random.random() < 0.5
        while True:
            yield from [pause] * random.randint(1, longest)
            pause = not pause

    cycles = pattern()
    return lambda: next(cycles)


def stall(name: str) -> Stall:
    """The pattern with this name, one of `STALLS`. Each call gives a pattern with a state of its own."""
    return bursts() if name == BURSTS else share(_SHARES[name])
