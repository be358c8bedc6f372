"""SIGKILL of the service at random moments, with the device's own uploader: nothing lost, nothing twice.

Three ledgers are compared: what the device was told is stored, the rows of the index, the objects.
"""

import random
import signal
import threading
import time

import pytest
from lepton.results import Store
from lepton.results.errors import Unavailable
from lepton.results.ingest import IngestTarget
from lepton.service import tables
from lepton.service.tenant import TenantView
from sqlalchemy import select

from tests.host.service.running import Service

KILLS = 4
DEVICES = ("cam1", "cam2")


class Sender(threading.Thread):
    """A device that sends segments until it is told to end, each again until it is stored."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.spool = client.spool()
        self.acknowledged = []
        self.errors = []
        self.enough = threading.Event()
        self._target = IngestTarget(str(client.base_url), credentials=client.credentials)

    def run(self):
        try:
            while not self.enough.is_set():
                self._deliver(self.spool.next())
        except Exception as error:
            self.errors.append(error)
        self._target.close()

    def _deliver(self, segment):
        while True:
            try:
                self._target.put_new(segment.key, segment.data)
            except Unavailable:
                time.sleep(0.05)
            else:
                return self.acknowledged.append((segment.header.sequence, segment.digest))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_lost_nothing_twice(kind, request, tmp_path):
    rng = random.Random(kind)
    database = request.getfixturevalue("postgres").new_database() if kind == "postgresql" else None
    with Service(tmp_path, database) as service:
        senders = [Sender(service.enrol("device", "acme", name)) for name in DEVICES]
        for sender in senders:
            sender.start()
        for _ in range(KILLS):
            before = [len(sender.acknowledged) for sender in senders]
            while any(len(s.acknowledged) < n + 3 for s, n in zip(senders, before, strict=True)):
                assert all(sender.is_alive() for sender in senders), [sender.errors for sender in senders]
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.05))
            service.kill()
            service.start()
        for sender in senders:
            sender.enough.set()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
            assert not sender.errors

        view = TenantView(service.open_database(), "acme")
        for name, sender in zip(DEVICES, senders, strict=True):
            found = view.segments(device=name, limit=100_000)
            rows = [(row["sequence"], row["digest"]) for row in found]
            assert rows == sender.acknowledged
            assert [sequence for sequence, _ in rows] == list(range(len(rows)))
            assert set(Store(tmp_path / "home" / "objects" / "acme").keys(name)) == {row["key"] for row in found}
        with view.database.read() as connection:
            assert connection.execute(select(tables.gaps)).all() == []
            # a segment that was sent again was no refusal
            assert connection.execute(select(tables.refusals)).all() == []
        view.database.close()
        assert service.stop() in (0, -signal.SIGTERM)
