"""Power fails at random moments: nothing acknowledged is lost, and the simulator would notice if it were."""

import contextlib
import random

import pytest
from lepton.results import Outbox, Spool
from lepton.results import segment as segments

from tests.host.results.power_loss import Disk, PowerLost

CRASHES_PER_SPOOL = 25
CAP = 4 << 20


class World:
    """A spool, a target that never fails, and the ledger of what was acknowledged."""

    def __init__(self, path, disk, keys, synchronous):
        self.path = path
        self.disk = disk
        self.keys = keys
        self.synchronous = synchronous
        self.target = {}
        self.acknowledged = -1

    def open(self):
        spool = Spool(self.path, device="alpha", max_bytes=CAP)
        spool.database.db.pragma("synchronous", self.synchronous)
        spool.database.db.pragma("wal_autocheckpoint", 20)  # checkpoints must be met often, too
        return spool

    def work_until_power_fails(self, rng):
        self.disk.fails_at = self.disk.operations + rng.randint(1, 60)
        spool = None
        with contextlib.suppress(Exception):  # whatever it is, the power is gone
            spool = self.open()
            outbox = Outbox(spool, self.keys)
            while True:
                if rng.random() < 0.7:
                    count = rng.choice([1, 1, 5, 20])
                    spool.append_many("run", [{"text": "x" * rng.randint(0, 300)} for _ in range(count)],
                                      first=self.acknowledged + 1)
                    self.acknowledged += count
                elif window := outbox.next(4) or [s for s in [outbox.seal(30, 1 << 20)] if s]:
                    self.target.update((s.key, s.data) for s in window)
                    outbox.confirm(window)
        if spool is not None:
            with contextlib.suppress(Exception):
                spool.close()
        with pytest.raises(PowerLost):
            self.disk.work()
        self.disk.restore()

    def lost(self):
        """Acknowledged numbers that are neither in the spool nor at the target; what is twice fails the test."""
        with self.open() as spool:
            records = [int(line.rpartition(b":")[2][:-1])
                       for line, in spool.database.db.execute("SELECT line FROM records")]
            stored = dict(spool.database.db.execute("SELECT key, data FROM segments"))
            damaged = spool.status().counters["damaged"]
        for data in {**self.target, **stored}.values():
            header = segments.parse(data).header
            assert header.last - header.first + 1 == header.records
            records += range(header.first, header.last + 1)
        if self.synchronous == "FULL":
            assert len(records) == len(set(records)), "twice"
        missing = set(range(self.acknowledged + 1)) - set(records)
        assert damaged >= len(missing), "lost, and the spool does not know"
        return len(missing)


def crashes(tmp_path, keys, synchronous, count):
    """Numbers of records that each crash lost."""
    rng = random.Random(2026)
    losses = []
    with Disk(rng) as disk:
        for i in range(0, count, CRASHES_PER_SPOOL):
            world = World(tmp_path / f"{i}.db", disk, keys, synchronous)
            for _ in range(CRASHES_PER_SPOOL):
                world.work_until_power_fails(rng)
                losses.append(world.lost())
                if losses[-1]:  # the ledger is wrong from now on
                    break
    return losses


def test_no_acknowledged_record_is_lost(tmp_path, keys):
    losses = crashes(tmp_path, keys, "FULL", 525)
    assert len(losses) >= 500
    assert sum(losses) == 0


def test_the_simulator_finds_what_synchronous_normal_loses(tmp_path, keys):
    losses = crashes(tmp_path, keys, "NORMAL", 250)
    assert sum(map(bool, losses)) >= 5


