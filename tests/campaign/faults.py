"""A spool on a small disk that fills and gets room again, a clock that jumps, and a store that lies.

The store lies in four ways: it says that it has failed and has stored, it says that a segment exists which does not, it
answers nothing, and it confirms a segment and drops it. What is dropped cannot be recovered, since the spool has
forgotten it; `verify` must name exactly these segments, by the signed head.
"""

import contextlib
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from lepton.bench.records import record
from lepton.results import DeviceKeys, RecordError, Spool, SpoolError, Store, Unavailable, Uploader
from lepton.results import segment as segments
from lepton.results.verify import verify

from tests.campaign.ledger import Round, numbers
from tests.host.results.disks import fill, mounted

STEPS = 60
SEGMENT_RECORDS = 50
_MISSING = re.compile(r"segments (\d+) to (\d+) are missing: the device's signed head says")
YEAR_NS = 365 * 86_400 * 10**9


class Liar:
    """A store whose answers are not always true; `dropped`: the segments that it has confirmed and lost."""

    def __init__(self, store: Store, rng: random.Random, result: Round):
        self._store = store
        self._rng = rng
        self._result = result
        self.where = store.where
        self.place = store.place
        self.tenant = store.tenant
        self.lanes = 2
        self.group = 1
        self.honest = False
        self._stored: set[str] = set()
        self.dropped: dict[str, segments.Header] = {}

    def identify(self, expected: str | None = None) -> str:
        return self._store.identify(expected)

    def put_all(self, objects: object) -> list[str]:
        raise AssertionError("a target without groups got one")

    def put_new(self, key: str, data: bytes) -> bool:
        lie = "" if self.honest else self._rng.choice([""] * 8 + ["lost answers", "no answers", "dropped segments"])
        if lie:
            self._result.events[lie] = self._result.events.get(lie, 0) + 1
        if lie == "no answers":
            raise Unavailable("no answer", 0.01)
        if lie == "dropped segments" and key not in self._stored:  # it may be there, if an answer was lost
            self.dropped[key] = segments.parse(data, key).header
            return self._rng.random() < 0.5
        new = self._store.put_new(key, data)
        self._stored.add(key)
        self.dropped.pop(key, None)
        if lie == "lost answers":
            raise Unavailable("the answer is lost", 0.01)
        return new

    def put_head(self, key: str, data: bytes) -> None:
        self._store.put_head(key, data)


@contextlib.contextmanager
def jumping_clock(rng: random.Random) -> Iterator[None]:
    """`time.time_ns` jumps by up to 20 years at every 50th call."""
    real = time.time_ns
    offset = 0
    calls = 0

    def now() -> int:
        nonlocal offset, calls
        calls += 1
        if calls % 50 == 0:
            offset = rng.randint(-20 * YEAR_NS, 20 * YEAR_NS)
        return real() + offset

    with patch.object(time, "time_ns", now):
        yield


def run(folder: Path, seed: int) -> Round:
    rng = random.Random(seed)
    keys = DeviceKeys.generate()
    result = Round("faults", seed, {"full disks": 0, "bad records": 0, "jumps of the clock": 0})
    acknowledged: set[int] = set()
    with mounted(folder / "disk", rng.randint(5, 12)) as disk, jumping_clock(rng), \
            Spool(disk / "spool.db", device="cam") as spool:
        store = Store(folder / "store")
        liar = Liar(store, rng, result)
        with Uploader(spool, liar, keys, segment_records=SEGMENT_RECORDS, linger=0.01, backoff_base=0.01,
                      backoff_cap=0.05) as uploader:
            for _ in range(STEPS):
                acknowledged |= _append(spool, rng, result)
                if rng.random() < 0.1:
                    ballast = fill(disk)
                    result.events["full disks"] += 1
                    for _ in range(3):
                        acknowledged |= _append(spool, rng, result)
                    time.sleep(rng.uniform(0, 0.1))
                    ballast.unlink()
                time.sleep(rng.uniform(0, 0.02))
            liar.honest = True
            if not uploader.flush(60):
                result.error = f"not everything has left: {uploader.status}"
        counters = spool.status().counters
    result.events["jumps of the clock"] += counters["appended"] // 50
    _check(result, store, keys, list(liar.dropped.values()), acknowledged)
    return result


def _append(spool: Spool, rng: random.Random, result: Round) -> set[int]:
    """Append some records; returns the numbers that were acknowledged."""
    count = rng.choice([1, 5, 60])
    given = [record(i) for i in range(count)]
    bad = rng.random() < 0.1
    if bad:
        given.insert(rng.randint(0, count), {"value": object()})
        result.events["bad records"] += 1
    before = spool.last_number("run") + 1
    try:
        spool.append_many("run", given)
    except RecordError:
        assert bad
    except SpoolError:
        return set()
    return set(range(before, before + count))  # a refused record without a number of its own takes none


def _check(result: Round, store: Store, keys: DeviceKeys, dropped: list[segments.Header], acknowledged: set[int]
           ) -> None:
    found = numbers(store, keys.keyring())
    result.compare(acknowledged - {n for header in dropped for n in range(header.first, header.last + 1)}, found)
    spool = verify(store, keys.keyring()).spools[0]
    named = {n for text in spool.errors if (match := _MISSING.match(text))
             for n in range(int(match[1]), int(match[2]) + 1)}
    if named != {header.sequence for header in dropped} or bool(spool.errors) != bool(dropped):
        result.error = result.error or f"dropped {[h.sequence for h in dropped]}, but verify found {spool.errors}"
    result.events["dropped segments that verify has named"] = len(named)
