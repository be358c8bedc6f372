"""Power fails at random moments of a spool with Parquet segments and signed heads.

The disk is that of `tests.host.results.power_loss`. The target is one that never loses anything; it may have more than
the spool knows. At the end of a spool the rest is sent, and `verify` checks the whole target with its heads.
"""

import contextlib
import random
from pathlib import Path

from lepton.bench.records import record
from lepton.results import DeviceKeys, Outbox, Spool
from lepton.results import segment as segments
from lepton.results.verify import verify

from tests.campaign.ledger import Round, numbers
from tests.host.results.power_loss import Disk, PowerLost

LOSSES = 25  # of power, in the life of one spool
CAP = 4 << 20
PLACE = "target"


class MemoryTarget:
    """Objects in memory, readable like a store."""

    where = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def keys(self, device: str | None = None, since: str = "", until: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(segments.ROOT))

    def heads(self) -> list[str]:
        return sorted(self.objects.keys() - set(self.keys()))

    def get(self, key: str) -> bytes:
        return self.objects[key]


class Life:
    """One spool, what it has acknowledged, and its target."""

    def __init__(self, path: Path, disk: Disk, rng: random.Random, keys: DeviceKeys):
        self.path = path
        self.disk = disk
        self.rng = rng
        self.keys = keys
        self.target = MemoryTarget()
        self.acknowledged = -1

    def open(self) -> Spool:
        spool = Spool(self.path, device="alpha", max_bytes=CAP)
        spool.database.db.pragma("wal_autocheckpoint", 20)  # so that power fails during checkpoints too
        return spool

    def work_until_power_fails(self) -> None:
        self.disk.fails_at = self.disk.operations + self.rng.randint(1, 60)
        spool = None
        with contextlib.suppress(Exception):  # whatever it is, the power is gone
            spool = self.open()
            outbox = Outbox(spool, self.keys)
            while True:
                self._step(spool, outbox)
        if spool is not None:
            with contextlib.suppress(Exception):
                spool.close()
        with contextlib.suppress(PowerLost):
            self.disk.work()
            raise AssertionError("the power has not failed")
        self.disk.restore()

    def drain(self) -> None:
        """Send everything that is left, and the head."""
        with self.open() as spool:
            outbox = Outbox(spool, self.keys)
            while self._send(outbox) or outbox.seal(30, 1 << 20):
                pass

    def _step(self, spool: Spool, outbox: Outbox) -> None:
        if self.rng.random() < 0.6:
            first = self.acknowledged + 1
            count = self.rng.choice([1, 1, 5, 20])
            given = [record(first + i) if self.rng.random() < 0.8 else {"text": "x" * self.rng.randint(0, 300)}
                     for i in range(count)]
            spool.append_many("run", given, first=first)
            self.acknowledged += count
        elif not self._send(outbox):
            outbox.seal(30, 1 << 20)

    def _send(self, outbox: Outbox) -> bool:
        window = outbox.next(4)
        if window:
            outbox.offer(window[-1].sequence)
            self.target.objects.update((sealed.key, sealed.data) for sealed in window)
            outbox.confirm(window, PLACE)
            head = outbox.head(PLACE)
            assert head is not None
            self.target.objects[head[0]] = head[1]
        return bool(window)


def run(folder: Path, seed: int) -> Round:
    rng = random.Random(seed)
    keys = DeviceKeys.generate()
    result = Round("power", seed, {"losses of power": 0})
    with Disk(rng) as disk:
        life = Life(folder / "spool.db", disk, rng, keys)
        for _ in range(LOSSES):
            life.work_until_power_fails()
            result.events["losses of power"] += 1
        life.drain()
        with life.open() as spool:
            damaged = spool.status().counters["damaged"]
    found = numbers(life.target, keys.keyring())
    result.compare(range(life.acknowledged + 1), found)
    report = verify(life.target, keys.keyring())
    if not report.good or damaged or report.records != len(found) or not life.target.heads():
        result.error = f"{damaged} damaged, {report}"
    return result
