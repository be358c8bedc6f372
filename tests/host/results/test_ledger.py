"""Four ledgers, four processes, and a store that is away for a minute.

Producer, uploader, store (a real SeaweedFS behind a network that misbehaves) and reader are killed at random moments,
the store for a minute on end. The numbers that the spool acknowledged, the segments that have left it, the objects
in the store and the numbers that the reader wrote down must be the same.
"""

import os
import random
import time
from collections import Counter

from lepton.results import DeviceKeys, Spool, server
from lepton.results.verify import verify

from tests.host.results.processes import kill, last_acknowledged, start
from tests.host.results.proxy import Proxy
from tests.host.results.seaweed import kill as kill_server
from tests.host.results.seaweed import seaweed, store
from tests.host.results.worker import CAP

OUTAGE_SECONDS = 60.0
KILL_EVERY = 4.0  # seconds, during the outage
PATIENCE = 60.0
TROUBLES = [("cut_after", 3000), ("answers_lost", True), ("lossy", 0.2), ("delay", 0.02), ("down", True)]


class Workers:
    """Producer, uploader and reader; whoever is killed begins again with what is on its disk."""

    def __init__(self, folder, where):
        path, self.ledger, self.read, keys = (folder / name for name in ("spool.db", "acknowledged", "read", "keys"))
        DeviceKeys.load_or_create(keys)
        self._start = {
            "producer": lambda: start("producer", path, "run", last_acknowledged(self.ledger) + 1, self.ledger, 0.05),
            "patient": lambda: start("patient", path, where, keys),
            "reader": lambda: start("reader", where, keys, self.read)}
        self.running = {name: begin() for name, begin in self._start.items()}

    def kill(self, name):
        kill(self.running.pop(name))

    def restart(self, name):
        self.kill(name)
        self.running[name] = self._start[name]()


def stored(path):
    with Spool(path, max_bytes=CAP) as spool:
        return spool.status().counters


def read_numbers(ledger):
    return Counter(int(n) for line in ledger.read_text().splitlines() for n in line.split()[1:])


def wait_until(reached):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_process_is_killed_and_the_store_is_away_for_a_minute(tmp_path, monkeypatch):
    rng = random.Random(11)
    spool = tmp_path / "spool.db"
    Spool(spool, device="ledger", max_bytes=CAP).close()
    with seaweed(tmp_path / "server") as s3, Proxy(s3.ports["s3"]) as proxy:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in (("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}"),
                            ("AWS_ACCESS_KEY_ID", s3.access_key), ("AWS_SECRET_ACCESS_KEY", s3.secret_key)):
            monkeypatch.setenv(name, value)
        workers = Workers(tmp_path, f"{s3.url}/ledger")
        try:
            for rule, value in TROUBLES:
                usual = getattr(proxy, rule)
                setattr(proxy, rule, value)
                time.sleep(rng.uniform(0.5, 1.0))
                workers.restart(rng.choice(list(workers.running)))
                setattr(proxy, rule, usual)
            wait_until(lambda: stored(spool)["stored"] > 0 and workers.read.read_text())

            kill_server(tmp_path / "server")
            away = time.monotonic()
            before = stored(spool)
            for victim in ("reader", "patient", "producer", *rng.choices(list(workers.running), k=100)):
                time.sleep(rng.uniform(0, KILL_EVERY))
                workers.restart(victim)
                if time.monotonic() - away >= OUTAGE_SECONDS:
                    break
            during = stored(spool)
            assert during["stored"] <= before["stored"] + 400 * 4  # what was stored, and not yet confirmed
            assert during["appended"] > before["appended"] + 1000  # nothing stood still
            assert server.up(tmp_path / "server").ports == s3.ports
            for victim in ("patient", "reader", "producer"):
                time.sleep(rng.uniform(0, 0.5))
                workers.restart(victim)

            workers.kill("producer")
            acknowledged = last_acknowledged(workers.ledger)
            wait_until(lambda: (c := stored(spool))["stored"] == c["appended"])
            wait_until(lambda: sum(read_numbers(workers.read).values()) >= stored(spool)["stored"])
        finally:
            for name in list(workers.running):
                workers.kill(name)
        counters = stored(spool)
        found = read_numbers(workers.read)
        report = verify(store(s3, prefix="ledger"), DeviceKeys.load(tmp_path / "keys").keyring())
    assert proxy.cuts > 3
    assert report.good, report
    assert max(found.values()) == 1, "read twice"
    assert set(range(acknowledged + 1)) <= set(found), "acknowledged, but lost"
    assert sorted(found) == list(range(len(found)))  # and at most the batch in flight beyond
    assert counters["appended"] == counters["stored"] == report.records == len(found)
