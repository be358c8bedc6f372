"""Waits and posts that keep commands in an order which gives what their sequential execution gives.

Commands of one engine start and finish in order, but a TENSOR command may start before the one ahead has finished, and
engines know nothing of one another but semaphores. So a command depends on those earlier commands of other engines that
wrote what it reads or writes, or read what it writes. The last of them on each engine matters, unless it is known to
have finished: from what this command's predecessors waited for, directly or through others. What remains becomes a
semaphore's post there and its wait here. Per pair of engines and class the posts are in order and each is taken by one
wait, so that one semaphore serves the pair.
"""

from dataclasses import dataclass, field

import numpy as np

from ..arch import Engine
from ..arch.commands import SEMAPHORES_READ, SEMAPHORES_WEIGHTS, SEMAPHORES_WRITE
from .commands import Command, Memory

# (producer, consumer) -> semaphore; loads of weights have one of their own
_ALLOTMENT = {
    (Engine.LOAD, Engine.TENSOR): SEMAPHORES_READ[1],  # `first_wait` cannot name semaphore 0
    (Engine.TENSOR, Engine.LOAD): SEMAPHORES_WRITE[0],
    (Engine.TENSOR, Engine.STORE): SEMAPHORES_WRITE[1],
    (Engine.STORE, Engine.TENSOR): SEMAPHORES_WRITE[2],
    (Engine.STORE, Engine.LOAD): SEMAPHORES_WRITE[3],
    (Engine.LOAD, Engine.STORE): SEMAPHORES_WRITE[4],
    (Engine.ROWS, Engine.TENSOR): SEMAPHORES_READ[2],
    (Engine.TENSOR, Engine.ROWS): SEMAPHORES_WRITE[5],
    # Neither of these engines is TENSOR, whose waits the chip counts by class: numbers that are left.
    (Engine.LOAD, Engine.ROWS): SEMAPHORES_READ[3],
    (Engine.ROWS, Engine.LOAD): SEMAPHORES_READ[4],
    (Engine.STORE, Engine.ROWS): SEMAPHORES_READ[5],
    (Engine.ROWS, Engine.STORE): SEMAPHORES_WEIGHTS[1],
}
_WEIGHTS = SEMAPHORES_WEIGHTS[0]
# Posts without a wait must stay below 256, the range of a semaphore's counter: a producer that is this many ahead waits
# for its consumer. Half of the range leaves a margin.
_LEAD = 128


@dataclass(eq=False)
class _StreamCommand:
    """A command in its engine's stream. `known[e]` is the last command of engine e that has finished when it starts."""

    index: int
    layer: int
    known: list[int]
    done: list[int] = field(default_factory=list)  # the same when it has finished
    wait: int = 0
    post: int = 0
    fence: bool = False


class _LastAccesses:
    """Who last wrote and read each word of one memory, per engine."""

    def __init__(self, words: int):
        self.writers = np.full((len(Engine), words), -1, np.int32)
        self.readers = np.full((len(Engine), words), -1, np.int32)


class SemaphoreAllocator:
    """Adds `wait`, `post` and `fence` to the commands of a job. `sizes` gives the bytes of each `Memory`."""

    def __init__(self, lanes: int, sizes: dict[Memory, int]):
        self.lanes = lanes
        self.history = {where: _LastAccesses(-(-size // lanes)) for where, size in sizes.items()}
        self.issued: dict[Engine, list[_StreamCommand]] = {engine: [] for engine in Engine}
        self.pairs: dict[int, list[tuple[int, int]]] = {}  # semaphore -> (producer, consumer) indices

    def run(self, commands: list[Command]) -> None:
        for command in commands:
            self._issue(command)
        streams = {engine: iter(issued) for engine, issued in self.issued.items()}
        for command in commands:
            issued = next(streams[command.engine])
            command.fields["wait"] = issued.wait
            command.fields["post"] = issued.post
            if command.engine == Engine.TENSOR:
                command.fields["fence"] = issued.fence

    def _issue(self, command: Command) -> None:
        engine = command.engine
        stream = self.issued[engine]
        before = stream[-1] if stream else None
        known = list(before.known) if before else [-1] * len(Engine)
        current = _StreamCommand(len(stream), command.fields.get("layer", 0), known)
        stream.append(current)
        edges, own = self._dependencies(command, current.known)
        self._limit_lead(engine, edges)
        edges = {(e, s): i for (e, s), i in edges.items() if i > current.known[e]}
        # what another of this command's waits implies needs none of its own
        needed = {(e, s): i for (e, s), i in edges.items()
                  if not any(o != e and self.issued[o][j].done[e] >= i for (o, _), j in edges.items())}
        for (producer, semaphore), index in needed.items():
            self._pair(producer, index, engine, current.index, semaphore)
            self._learn(current, self.issued[producer][index].done)
        if own > current.known[engine]:
            current.fence = True
            self._learn(current, stream[-2].done)
        current.done = list(current.known)
        if before:
            self._learn_done(current, before.done)
        current.done[engine] = current.index
        self._record(command, current.index)

    def _dependencies(self, command: Command, known: list[int]) -> tuple[dict[tuple[Engine, int], int], int]:
        """{(engine, semaphore): last command of another engine to wait for}, and the last of the own engine whose
        result is read (only TENSOR can start a command before the results of earlier ones have landed)."""
        edges: dict[tuple[Engine, int], int] = {}
        own = -1
        for accesses, writes in ((command.reads, False), (command.writes, True)):
            for access in accesses:
                history = self.history.get(access.where)
                if history is None:
                    continue
                words = slice(access.start // self.lanes, -(-access.stop // self.lanes))
                last = history.writers[:, words].max(axis=1)
                if command.engine == Engine.TENSOR and not writes:
                    own = max(own, int(last[Engine.TENSOR]))
                if writes:
                    last = np.maximum(last, history.readers[:, words].max(axis=1))
                for producer in Engine:
                    if producer != command.engine and last[producer] >= 0:
                        semaphore = _ALLOTMENT[producer, command.engine]
                        index = int(last[producer])
                        if access.where == Memory.WEIGHTS and producer == Engine.TENSOR and index > known[producer]:
                            index = self._beyond(index)
                        if access.where == Memory.WEIGHTS and command.engine == Engine.TENSOR:
                            semaphore = _WEIGHTS
                        key = (producer, semaphore)
                        edges[key] = max(edges.get(key, -1), index)
        return edges, own

    def _beyond(self, index: int) -> int:
        """A TENSOR command to wait for in place of an earlier one.

        The loads that follow then need no wait, and differ in addresses only (`repeat`). It is at most half of the way
        from there to the latest, where a layer ends if one does.
        """
        stream = self.issued[Engine.TENSOR]
        middle = index + (len(stream) - 1 - index) // 2
        ends = (i for i in range(middle, index - 1, -1)
                if i + 1 < len(stream) and stream[i].layer != stream[i + 1].layer)
        return next(ends, middle)

    def _pair(self, producer: Engine, index: int, consumer: Engine, by: int, semaphore: int) -> None:
        self.issued[producer][index].post |= 1 << semaphore
        self.issued[consumer][by].wait |= 1 << semaphore
        self.pairs.setdefault(semaphore, []).append((index, by))

    def _record(self, command: Command, index: int) -> None:
        for accesses, kind in ((command.reads, "readers"), (command.writes, "writers")):
            for access in accesses:
                history = self.history.get(access.where)
                if history is not None:
                    words = slice(access.start // self.lanes, -(-access.stop // self.lanes))
                    getattr(history, kind)[command.engine, words] = index

    @staticmethod
    def _learn(current: _StreamCommand, done: list[int]) -> None:
        current.known = [max(a, b) for a, b in zip(current.known, done, strict=True)]

    @staticmethod
    def _learn_done(current: _StreamCommand, done: list[int]) -> None:
        current.done = [max(a, b) for a, b in zip(current.done, done, strict=True)]

    def _limit_lead(self, engine: Engine, edges: dict[tuple[Engine, int], int]) -> None:
        """Keep this engine from posting too far beyond the waits of the others.

        The consumer of the post `_LEAD` posts ago comes before this command in the sequential execution, so that
        waiting for it cannot deadlock.
        """
        for (producer, consumer), semaphore in [*_ALLOTMENT.items(), ((Engine.LOAD, Engine.TENSOR), _WEIGHTS)]:
            pairs = self.pairs.get(semaphore, [])
            if producer == engine and len(pairs) >= _LEAD:
                key = (consumer, _ALLOTMENT[consumer, engine])
                edges[key] = max(edges.get(key, -1), pairs[-_LEAD][1])
