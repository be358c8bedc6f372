"""Finds pairs of commands that touch the same bytes in no fixed order.

The interpreter runs commands one after another, so a program whose semaphores do
not match has a result here that may differ from the chip's.
This checker keeps a vector clock per engine (Mattern 1989) and, per word on chip
and byte in memory, the last command of each engine that read and wrote it
(as in FastTrack, Flanagan and Freund 2009). An access races with an earlier one
that is not in the past of its command.

What orders two commands:

- A take that the program can only make after a certain post. For a semaphore with
  one posting and one taking engine, the n-th take follows the n-th post. With
  several posting engines a take is sure of a post only where the others cannot have
  supplied it; with several taking engines, only an engine's own takes count.
  So the checker never overlooks a race, but may report one that cannot happen
  where a semaphore is shared: give every pair of engines its own.
- Order within an engine, with one exception. Commands of an engine start in order,
  read in order and write in order, but a TENSOR command reads the scratchpad
  before the results of the one before it have landed. It may read them only behind
  a `fence`, or behind a semaphore that says that they have.

Within one TENSOR command, a pixel must not read what an earlier pixel of the last
pass wrote. Accumulator rows are used by TENSOR alone and in order; what is
reported there is a row that is added to while its contents are undefined.
"""

from dataclasses import dataclass

import numpy as np
from lepton.arch import ChipConfig, Engine
from lepton.arch.commands import SEMAPHORES

_MEMORIES = ("scratchpad", "weights", "memory")


class RaceError(RuntimeError):
    """A job's result depends on timing; `races` lists why."""

    def __init__(self, races: "list[Race]"):
        shown = "\n  ".join(str(race) for race in races[:10])
        more = f"\n  and {len(races) - 10} more" if len(races) > 10 else ""
        super().__init__(f"the program has {len(races)} race(s):\n  {shown}{more}")
        self.races = races


@dataclass(frozen=True)
class CommandName:
    """A command of the running job."""

    engine: Engine
    index: int
    layer: int

    def __str__(self) -> str:
        return f"{self.engine.name} command {self.index} (layer {self.layer})"


@dataclass(frozen=True)
class Race:
    """`second` does `action` at `address` while `first` may still be about to touch it.

    `address` is in bytes (accumulators: a row) and is the lowest of those that the two share.
    `first` is None for an accumulator row that nothing has started.
    """

    kind: str
    memory: str
    address: int
    first: CommandName | None
    second: CommandName
    remedy: str

    def __str__(self) -> str:
        return f"{self.second} {self.kind} at {self.memory} address {self.address:#x}: {self.remedy}"


class RaceChecker:
    """Watches one job.

    `posts`: how many times each engine posts to each semaphore in the whole job, shape
    (engines, SEMAPHORES). `memory`: the range of addresses that the job's regions cover.
    The interpreter calls `begin`, the command reports its accesses (`AccessLog`), then `end`.
    """

    LIMIT = 100  # races kept; a broken program has one per command

    def __init__(self, config: ChipConfig, posts: np.ndarray, memory: range):
        self.races: list[Race] = []
        self._config = config
        self._posts = posts
        self._base = memory.start
        sizes = {"scratchpad": config.scratchpad_words, "weights": config.weight_words, "memory": len(memory)}
        # Clocks are 1 + command index; 0 means never. Only touched pages of these arrays take memory.
        self._reads = {name: [np.zeros(sizes[name], np.int32) for _ in Engine] for name in _MEMORIES}
        self._writes = {name: [np.zeros(sizes[name], np.int32) for _ in Engine] for name in _MEMORIES}
        self._started = np.zeros(config.accumulator_rows, bool)
        # Commands of each engine (column) known to have finished when the engine's (row) latest one started.
        self._clock = np.zeros((len(Engine), len(Engine)), np.int64)
        # Clocks at each post, by semaphore and engine.
        self._posted: list[list[list[np.ndarray]]] = [[[] for _ in Engine] for _ in range(SEMAPHORES)]
        self._taken = np.zeros((len(Engine), SEMAPHORES), np.int64)
        self._has_table = False
        self._has_exponentials = False
        self._layers: list[list[int]] = [[] for _ in Engine]
        self._seen: set[tuple[CommandName | None, CommandName, str]] = set()
        self._running: CommandName | None = None
        self._touched: list[tuple[dict[str, list[np.ndarray]], str, np.ndarray]] = []

    def begin(self, engine: Engine, index: int, layer: int, wait: int, fence: bool) -> None:
        """The next command of `engine` has taken the semaphores in `wait`."""
        self._running = CommandName(engine, index, layer)
        self._layers[engine].append(layer)
        clock = self._clock[engine]
        for s in range(SEMAPHORES):
            if wait >> s & 1:
                self._taken[engine, s] += 1
                for poster in Engine:
                    sure = self._taken[engine, s] - sum(
                        # What this engine posts after now cannot have been taken by it.
                        len(self._posted[s][other]) if other == engine else self._posts[other, s]
                        for other in Engine if other != poster)
                    if sure >= 1:
                        np.maximum(clock, self._posted[s][poster][sure - 1], out=clock)
        if fence:
            clock[engine] = max(clock[engine], index)

    def end(self, post: int) -> None:
        """The command has run; its accesses become the past of what `post` lets go."""
        engine = self._now.engine
        index = self._now.index
        for clocks, memory, where in self._touched:
            clocks[memory][engine][where] = index + 1
        self._touched.clear()
        # `done` reports of an engine come in order, so a post vouches for all commands before it as well.
        clock = self._clock[engine].copy()
        clock[engine] = index + 1
        for s in range(SEMAPHORES):
            if post >> s & 1:
                self._posted[s][engine].append(clock)

    def read(self, memory: str, index: np.ndarray) -> None:
        """See `AccessLog`."""
        index = self._index(memory, index)
        for engine in Engine:
            own = engine == self._now.engine
            if own and engine != Engine.TENSOR:
                continue
            self._check(self._writes[memory][engine], engine, memory, index,
                        "may read before the data is there")
        self._touched.append((self._reads, memory, index))

    def write(self, memory: str, index: np.ndarray) -> None:
        """See `AccessLog`."""
        index = self._index(memory, index)
        for engine in Engine:
            if engine != self._now.engine:
                self._check(self._reads[memory][engine], engine, memory, index, "overwrites what may still be read")
                self._check(self._writes[memory][engine], engine, memory, index,
                            "overwrites what may be written after it")
        self._touched.append((self._writes, memory, index))

    def accumulate(self, first: int, count: int, starts: bool, ends: bool) -> None:
        """See `AccessLog`."""
        rows = slice(first, first + count)
        if not starts and not self._started[rows].all():
            row = first + int(np.argmin(self._started[rows]))
            self._report(None, "adds to a row with undefined contents", "accumulators", row,
                         "the first command of a sum must set `first`, and only its last one may set `last`")
        self._started[rows] = not ends

    def look_up(self, loads: bool) -> None:
        """See `AccessLog`."""
        self._has_table |= loads
        if not self._has_table:
            self._report(None, "looks up in a table that this job has not loaded", "table", 0,
                         "the first command that uses a table must set `load_table`")

    def look_up_exponential(self, loads: bool) -> None:
        """See `AccessLog`."""
        self._has_exponentials |= loads
        if not self._has_exponentials:
            self._report(None, "looks up in exponentials that this job has not loaded", "table", 0,
                         "the first SOFTMAX of a job must set `load_table`")

    def overlap(self, address: int) -> None:
        """See `AccessLog`."""
        self._report(self._now, "reads what one of its own earlier pixels writes", "scratchpad", address,
                     "a walk may only overwrite input that it no longer needs")

    @property
    def _now(self) -> CommandName:
        """The command under way; accesses are reported between `begin` and `end`."""
        if self._running is None:
            raise RuntimeError("an access was reported before the first `begin`")
        return self._running

    def _index(self, memory: str, index: np.ndarray) -> np.ndarray:
        index = np.ravel(index)
        return index - self._base if memory == "memory" else index

    def _check(self, clocks: np.ndarray, engine: Engine, memory: str, index: np.ndarray, kind: str) -> None:
        found = clocks[index]
        late = found > self._clock[self._now.engine, engine]
        if not late.any():
            return
        where = int(index[late].min())
        other = int(clocks[where]) - 1
        address = where + self._base if memory == "memory" else where * self._config.lanes
        first = CommandName(engine, other, self._layers[engine][other])
        remedy = (f"no semaphore orders it after {first}" if engine != self._now.engine else
                  f"the results of {first} may not have landed; set `fence`")
        self._report(first, kind, memory, address, remedy)

    def _report(self, first: CommandName | None, kind: str, memory: str, address: int, remedy: str) -> None:
        key = (first, self._now, memory)
        if key not in self._seen and len(self.races) < self.LIMIT:
            self._seen.add(key)
            self.races.append(Race(kind, memory, address, first, self._now, remedy))
