"""Every process from the producer of records to the database is killed at random moments.

Producer and uploader of a device with a clock that jumps, the ingest service, SeaweedFS and PostgreSQL, which syncs its
log here. Between device and service is a network that delays, cuts, and loses answers. At the end the numbers that the
spool has acknowledged, the records in the store and the rows of the index must agree.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lepton.results import DeviceKeys, Spool, Store, Uploader, server
from lepton.results.credentials import Credentials
from lepton.results.ingest import IngestTarget
from lepton.results.verify import verify
from lepton.service.identity import Identity
from lepton.service.tenant import TenantView

from tests.campaign.ledger import Round, numbers
from tests.host.results import seaweed
from tests.host.results.proxy import Proxy
from tests.host.service import device_process, postgres_server, running
from tests.host.service.running import Service

KILLS = 25
PATIENCE = 180.0  # seconds; a loaded machine needs some 20 to send what is left
CAMERA = Identity("device", "acme", "cam7")
running.START_SECONDS = PATIENCE  # of the service, where other work has most of the processors
TROUBLES = (("cut_after", 3000), ("answers_lost", True), ("lossy", 0.2), ("delay", 0.02))


class Chain:
    """All parts, running. `victims`: functions that kill a part and start it again, by its name."""

    def __init__(self, folder: Path, service: Service, proxy: Proxy, postgres: postgres_server.Server,
                 s3: server.Server):
        self.spool = folder / "spool.db"
        self.ledger = folder / "ledger"
        self.keys = folder / "keys"
        self.proxy = proxy
        self._service = service
        self._postgres = postgres
        self._s3 = s3
        self.credentials = Credentials(self.keys)
        self.credentials.enrol(service.url, service.invite(CAMERA), service.authority,
                               DeviceKeys.load_or_create(self.keys))
        Spool(self.spool, device=CAMERA.name, max_bytes=device_process.CAP).close()
        self.url = f"https://127.0.0.1:{proxy.port}"
        self.processes = {"producer": self._produce(), "uploader": self._upload()}
        self.victims: dict[str, Callable[[], None]] = {
            "producer": lambda: self._again("producer", self._produce),
            "uploader": lambda: self._again("uploader", self._upload),
            "service": self._kill_service, "SeaweedFS": self._kill_seaweed, "PostgreSQL": self._kill_postgres}

    def acknowledged(self) -> int:
        lines = self.ledger.read_text().split("\n")[:-1] if self.ledger.exists() else []
        return int(lines[-1]) if lines else -1

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def drain(self) -> str:
        """Send what is left; what is wrong, if anything."""
        target = IngestTarget(self.url, credentials=self.credentials)
        with Spool(self.spool, max_bytes=device_process.CAP) as spool, \
                Uploader(spool, target, DeviceKeys.load(self.keys), backoff_cap=0.5) as uploader:
            arrived = uploader.flush(PATIENCE)
            state = uploader.status
        target.close()
        return "" if arrived and not state.refused else f"not everything has left: {state}"

    def _produce(self) -> subprocess.Popen[bytes]:
        return self._start("produce", self.spool, self.acknowledged() + 1, self.ledger)

    def _upload(self) -> subprocess.Popen[bytes]:
        return self._start("upload", self.spool, self.url, self.keys, self.keys)

    def _start(self, *arguments: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, device_process.__file__, *map(str, arguments)],
                                   stdout=subprocess.PIPE, env={**os.environ, "JUMPING_CLOCK": "1", "PAUSE": "0.02"})
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def _again(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        process = self.processes[name]
        assert process.poll() is None, f"the {name} has ended by itself"
        process.kill()
        process.wait()
        self.processes[name] = start()

    def _kill_service(self) -> None:
        self._service.kill()
        self._service.start()

    def _kill_seaweed(self) -> None:
        seaweed.kill(Path(self._s3.folder))
        server.up(self._s3.folder)

    def _kill_postgres(self) -> None:
        self._postgres.kill()
        self._postgres.start()


def run(folder: Path, seed: int) -> Round:
    rng = random.Random(seed)
    result = Round("chain", seed, dict.fromkeys(("producer", "uploader", "service", "SeaweedFS", "PostgreSQL"), 0))
    with postgres_server.running(durable=True) as postgres, seaweed.seaweed(folder / "s3") as s3:
        where = f"{s3.url}/ingest"
        environment = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key,
                       "AWS_ENDPOINT_URL": s3.endpoint}
        with Service(folder, postgres.new_database(), store=where, environment=environment) as service, \
                Proxy(service.port, seed) as proxy:
            chain = Chain(folder, service, proxy, postgres, s3)
            try:
                _kill_at_random(chain, rng, result)
            finally:
                chain.end()
            result.error = chain.drain()
            view = TenantView(service.open_database(), CAMERA.tenant)
            rows = view.segments(limit=100_000)
            view.database.close()
        store = Store(f"{where}/{CAMERA.tenant}", **s3.options(), client_options={"allow_http": True})
        keyring = DeviceKeys.load(chain.keys).keyring()
        found = numbers(store, keyring)
        result.compare(range(chain.acknowledged() + 1), found)
        report = verify(store, keyring)
        if sorted(row["key"] for row in rows) != store.keys() or not report.good or report.records != len(found):
            result.error = result.error or f"index, store and heads differ: {len(rows)} rows, {report}"
    return result


def _kill_at_random(chain: Chain, rng: random.Random, result: Round) -> None:
    for _ in range(KILLS):
        trouble, value = rng.choice(TROUBLES)
        usual = getattr(chain.proxy, trouble)
        if rng.random() < 0.3:
            setattr(chain.proxy, trouble, value)
        time.sleep(rng.uniform(0.05, 0.6))
        # SeaweedFS and PostgreSQL need seconds to come back, the others are killed more often
        name = rng.choice(("producer", "uploader", "service", "producer", "uploader", "service", "SeaweedFS",
                           "PostgreSQL"))
        chain.victims[name]()
        result.events[name] += 1
        setattr(chain.proxy, trouble, usual)
