"""From the producer of records to the index, with SIGKILL of every process at random moments.

Four ledgers: numbers that the spool acknowledged, records in stored segments, segments in the index, objects.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from lepton.results import DeviceKeys, Spool, Store, Uploader, open_target
from lepton.results import segment as segments
from lepton.results.credentials import Credentials
from lepton.results.verify import verify
from lepton.service.identity import Identity
from lepton.service.tenant import TenantView

from tests.host.service.device_process import CAP
from tests.host.service.running import Service

PROCESS = Path(__file__).with_name("device_process.py")
ROUNDS = 9
CAMERA = Identity("device", "acme", "cam7")


class Device:
    """Spool, keys and certificate of a device, and its two processes."""

    def __init__(self, folder: Path, service: Service):
        self.spool = folder / "spool.db"
        self.ledger = folder / "ledger"
        self.keys = folder / "keys"
        self._service = service
        self._credentials = Credentials(self.keys)
        self._credentials.enrol(service.url, service.invite(CAMERA), service.authority,
                                DeviceKeys.load_or_create(self.keys))
        Spool(self.spool, device=CAMERA.name, max_bytes=CAP).close()

    def acknowledged(self) -> int:
        lines = self.ledger.read_text().split("\n")[:-1] if self.ledger.exists() else []
        return int(lines[-1]) if lines else -1

    def produce(self) -> subprocess.Popen:
        return self._start("produce", self.spool, self.acknowledged() + 1, self.ledger)

    def upload(self) -> subprocess.Popen:
        return self._start("upload", self.spool, self._service.url, self.keys, self.keys)

    def drain(self) -> None:
        """Upload what is left, in this process."""
        target = open_target(self._service.url, credentials=self._credentials)
        with Spool(self.spool, max_bytes=CAP) as spool, \
                Uploader(spool, target, DeviceKeys.load(self.keys), backoff_cap=0.2) as uploader:
            assert uploader.flush(60)
            assert uploader.status.refused == 0
        target.close()

    @staticmethod
    def _start(*arguments) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, str(PROCESS), *map(str, arguments)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        return process


def kill(process):
    assert process.poll() is None, f"{process.args} ended by itself"
    process.kill()
    process.wait()
    process.stdout.close()


def test_nothing_lost_nothing_twice(tmp_path):
    rng = random.Random(3)
    with Service(tmp_path) as service:
        device = Device(tmp_path, service)
        producer = device.produce()
        uploader = device.upload()
        for round_ in range(ROUNDS):
            time.sleep(rng.uniform(0.05, 0.3))
            victim = ("producer", "uploader", "service")[round_ % 3]
            if victim == "producer":
                kill(producer)
                producer = device.produce()
            elif victim == "uploader":
                kill(uploader)
                uploader = device.upload()
            else:
                service.kill()
                service.start()
        kill(producer)
        kill(uploader)
        device.drain()

        view = TenantView(service.open_database(), "acme")
        rows = view.segments(limit=100_000)
        devices = view.devices()
        view.database.close()
    store = Store(service.home.folder / "objects" / "acme")
    keys = store.keys()
    assert keys == [row["key"] for row in rows]
    assert [row["sequence"] for row in rows] == list(range(len(rows)))
    assert (devices[0]["missing_segments"], devices[0]["lost_records"]) == (0, 0)

    keyring = DeviceKeys.load(device.keys).keyring()
    found = Counter(record["number"] for key in keys
                    for record in segments.parse(store.get(key), key).open(keyring))
    acknowledged = device.acknowledged()
    assert acknowledged > 0
    assert max(found.values()) == 1, "stored twice"
    assert set(range(acknowledged + 1)) <= set(found), "acknowledged, but lost"
    assert sorted(found) == list(range(len(found)))  # and at most the batch in flight beyond
    assert sum(row["records"] for row in rows) == len(found)
    assert verify(store, keyring).good
