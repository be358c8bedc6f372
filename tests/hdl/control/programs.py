"""Programs of a job: random ones, the model of how they end, and the checker of how the engines executed them."""

import random
from collections.abc import Mapping, Sequence

from lepton.arch import Engine
from lepton.arch.commands import ENGINE_OPCODES, ENGINE_RECORDS

from tests.hdl.control.peers import Started

SEMAPHORES = 16
MOST_TOKENS = 200  # that random programs leave in a semaphore; below the 255 at which it would overflow

Fields = dict[str, int]
Streams = Mapping[Engine, Sequence[Fields]]
"""The commands of each engine, those fields that are not 0."""

End = tuple[Engine, int, int, int]
"""A deadlock: engine, index of its command, layer, mask of the missing semaphores."""


def encode_command(engine: Engine, index: int, fields: Fields) -> bytes:
    """A command of the engine, with a payload that tells it from every other."""
    marker = {"in_addr" if engine in (Engine.TENSOR, Engine.ROWS) else "offset": index}
    return ENGINE_RECORDS[engine].pack(**{"opcode": ENGINE_OPCODES[engine][0]} | marker | fields)


def semaphores(mask: int) -> list[int]:
    """The numbers of the semaphores in a mask."""
    return [s for s in range(SEMAPHORES) if mask >> s & 1]


def random_streams(lengths: Sequence[int], *, lost: float = 0.0) -> dict[Engine, list[Fields]]:
    """Streams of these lengths, by engine, whose waits are met by earlier posts of one global order.

    Each semaphore has one consumer, so that no other order can starve an engine. A share `lost` of the posts is left
    out.
    """
    consumers = [random.choice(list(Engine)) for _ in range(SEMAPHORES)]
    remaining = dict(zip(Engine, lengths, strict=True))
    tokens = [0] * SEMAPHORES
    streams: dict[Engine, list[Fields]] = {engine: [] for engine in Engine}
    while any(remaining.values()):
        engine = random.choice([e for e in Engine if remaining[e]])
        remaining[engine] -= 1
        ready = [s for s in range(SEMAPHORES) if tokens[s] and consumers[s] is engine]
        wait = sum(1 << s for s in ready if random.random() < 0.7)
        post = sum(1 << s for s in range(SEMAPHORES) if random.random() < 0.12 and tokens[s] < MOST_TOKENS)
        for s in range(SEMAPHORES):
            tokens[s] += (post >> s & 1) - (wait >> s & 1)
        opcode = int(random.choice(ENGINE_OPCODES[engine]))
        streams[engine].append({"opcode": opcode, "wait": wait, "layer": random.randrange(1 << 16),
                                "post": 0 if random.random() < lost else post})
    return streams


def expected_end(streams: Streams) -> End | None:
    """What a job must end with: None, or a deadlock.

    Every semaphore has one consumer, so the order of execution does not matter (a Kahn network).
    """
    at = dict.fromkeys(Engine, 0)
    tokens = [0] * SEMAPHORES

    def missing(engine: Engine) -> int:
        return sum(1 << s for s in semaphores(streams[engine][at[engine]]["wait"]) if not tokens[s])

    def unfinished() -> list[Engine]:
        return [e for e in Engine if at[e] < len(streams[e])]

    while ready := [e for e in unfinished() if not missing(e)]:
        command = streams[ready[0]][at[ready[0]]]
        for s in range(SEMAPHORES):
            tokens[s] += (command["post"] >> s & 1) - (command["wait"] >> s & 1)
        at[ready[0]] += 1
    if not unfinished():
        return None
    engine = unfinished()[0]
    return engine, at[engine], streams[engine][at[engine]]["layer"], missing(engine)


def check_history(streams: Streams, started: Mapping[Engine, Sequence[Started]],
                  finished: Mapping[Engine, Sequence[tuple[int, int]]]) -> None:
    """Every command once, in order, as it was in memory, and never before the posts for which it waits.

    `finished`: cycle and index of each command.
    """
    events: list[tuple[int, int, int, int]] = []  # cycle, order within it, what it adds, to which semaphores
    for engine in Engine:
        stream = streams.get(engine, [])
        record = ENGINE_RECORDS[engine]
        indices = [command.index for command in started[engine]]
        assert indices == list(range(len(stream))), f"{engine.name} started {indices} of {len(stream)} commands"
        for command, fields in zip(started[engine], stream, strict=True):
            assert record.pack(**command.fields) == encode_command(engine, command.index, fields), (
                f"command {command.index} of {engine.name} is {command.fields}")
            events.append((command.cycle, 0, -1, fields.get("wait", 0)))
        for cycle, index in finished[engine]:
            events.append((cycle, 1, 1, stream[index].get("post", 0)))  # after a start of the same cycle
    counts = [0] * SEMAPHORES
    for cycle, _, sign, mask in sorted(events):
        for s in semaphores(mask):
            counts[s] += sign
            assert counts[s] >= 0, f"semaphore {s} was taken before it was posted (cycle {cycle})"
