"""SIGKILL at random moments: nothing acknowledged is lost, nothing is stored twice.

Two ledgers are compared: the numbers that a producer wrote down once they were
acknowledged, and those that a reader finds in the store.
"""

import random
import time
from collections import Counter

import pytest
from lepton.results import DeviceKeys, Spool, Store, Uploader
from lepton.results import segment as segments

from tests.host.results.processes import kill, last_acknowledged, start

ROUNDS = 10


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_lost_nothing_twice(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / "spool.db"
    store = tmp_path / "store"
    ledger = tmp_path / "ledger"
    Spool(path, device="alpha", max_bytes=8 << 20).close()

    def start_producer():
        # a restarted producer knows only what was acknowledged: what was committed but not is offered again
        return start("producer", path, "run", last_acknowledged(ledger) + 1, ledger, 0)

    def start_uploader():
        return start("uploader", path, store, tmp_path / "keys")

    producer = start_producer()
    uploader = start_uploader()
    for _ in range(ROUNDS):
        time.sleep(rng.uniform(0, 0.15))
        if rng.random() < 0.5:
            kill(producer)
            producer = start_producer()
        else:
            kill(uploader)
            uploader = start_uploader()
    kill(producer)
    kill(uploader)

    keys = DeviceKeys.load_or_create(tmp_path / "keys")
    with Spool(path, max_bytes=8 << 20) as spool:
        with Uploader(spool, Store(store), keys) as work:
            assert work.flush(60)
        status = spool.status()
    stored = Store(store)
    read = [segments.parse(stored.get(key), key) for key in stored.keys("alpha")]
    found = Counter((r["run"], r["number"]) for s in read for r in s.open(keys.keyring()))
    acknowledged = last_acknowledged(ledger)
    assert acknowledged > 0
    assert max(found.values()) == 1, "stored twice"
    assert {n for _, n in found} >= set(range(acknowledged + 1)), "acknowledged, but lost"
    assert sorted(n for _, n in found) == list(range(len(found)))  # and at most the batch in flight beyond
    assert status.counters["appended"] == status.counters["stored"] == len(found)
    assert [s.header.sequence for s in read] == list(range(len(read)))
    assert [s.header.previous for s in read] == ["", *(s.digest for s in read[:-1])]
