"""Measures the ingest service under attack and load: `lepton bench service`.

Service, attackers and devices share this machine, so the figures are lower bounds of what the service does alone.
"""

import contextlib
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ..results.credentials import Credentials
from ..results.segment import Segment
from .attackers import Attack
from .service_process import LoadDevice, ServiceProcess, closing

FLEET = 1000  # devices that connect at once
SENDERS = 16  # devices that send without a pause, for the throughput
LOAD_SECONDS = 10.0
SETTLE_SECONDS = 3.0  # until the attackers are connected
RECONNECT_EVERY = 3  # uploads of the honest device over one connection: a new one needs a handshake


@dataclass(frozen=True)
class LoadScale:
    """Numbers of attackers. The whole measurement has those of issue 16's report of what stopped the service."""

    silent: int = 1100
    half_open: int = 4263
    strangers: int = 20
    tricklers: int = 8
    readers: int = 4
    pairs: int = 60  # uploads of the honest device, with and without attacks


@dataclass(frozen=True)
class Attacked:
    """An honest device's uploads: medians in seconds, and refused ones; and the service's memory under attack."""

    quiet: float
    attacked: float
    refused: int
    memory_bytes: int
    events: dict[str, int]
    processor: float  # of one processor, that the service used under attack

    @property
    def ratio(self) -> float:
        return self.attacked / self.quiet


def measure_attacks(folder: Path, scale: LoadScale) -> Attacked:
    """All attacks at once, against the uploads of a device of another tenant at another address."""
    with ServiceProcess(folder) as service, closing(service.enrol("device", "honest", ["cam1"])) as (honest,):
        tricklers = service.enrol("device", "evil", [f"slow{n}" for n in range(scale.tricklers)])
        readers = service.enrol("reader", "busy", [f"reader{n}" for n in range(scale.readers)])
        filler, = service.enrol("device", "busy", ["filler"])
        with closing([filler]):
            for _ in range(300):
                filler.upload(filler.segment(1000))
        for _ in range(10):
            honest.upload(honest.segment())
        quiet, refused_quiet = _uploads(honest, scale.pairs)
        plan = Plan(service.port, service.authority, scale,
                    [(device.credentials.folder, device.segment().key) for device in tricklers],
                    [reader.credentials.folder for reader in readers])
        with _attacking(plan) as events:
            time.sleep(SETTLE_SECONDS)
            before = (service.processor_seconds(), time.monotonic())
            attacked, refused = _uploads(honest, scale.pairs)
            processor = (service.processor_seconds() - before[0]) / (time.monotonic() - before[1])
            memory = service.memory_bytes()
        return Attacked(statistics.median(quiet), statistics.median(attacked), refused + refused_quiet, memory, events,
                        processor)


@dataclass(frozen=True)
class Plan:
    """What attackers in another process do: folders of credentials, and the keys to which tricklers upload."""

    port: int
    authority: Path
    scale: LoadScale
    tricklers: list[tuple[Path, str]]
    readers: list[Path]


@contextlib.contextmanager
def _attacking(plan: Plan) -> Iterator[dict[str, int]]:
    """Attackers in a process of their own, since they would hold this one's interpreter. Yields what will have happened
    to them, which is known at the end of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_attack, args=(plan, theirs), daemon=True)
    process.start()
    events: dict[str, int] = {}
    try:
        ours.recv()
        yield events
    finally:
        ours.send("stop")
        events.update(ours.recv())
        process.join(10)


def _attack(plan: Plan, pipe: Connection) -> None:
    with Attack(plan.port, plan.authority) as attack:
        attack.silent("127.0.1.1", plan.scale.silent)
        for number in range(8):
            attack.half_open(f"127.0.2.{number + 1}", plan.scale.half_open // 8)
        for number in range(plan.scale.strangers):
            attack.wrong_codes(f"127.0.3.{number + 1}", 1)
        for number, (folder, key) in enumerate(plan.tricklers):
            attack.trickle(Credentials(folder).context(), key, f"127.0.4.{number + 1}")
        for folder in plan.readers:
            attack.read_pages(Credentials(folder).context(), "/v1/results?limit=300")
        pipe.send("started")
        pipe.recv()
    pipe.send({event: attack.events.count(event) for event in set(attack.events)})


def _uploads(device: LoadDevice, count: int) -> tuple[list[float], int]:
    """Seconds of each upload, and how many were refused."""
    times = []
    refused = 0
    for number in range(count):
        if number % RECONNECT_EVERY == 0:
            device.close()
        status, seconds = device.upload(device.segment())
        times.append(seconds)
        refused += status != 201
        time.sleep(0.05)
    return times, refused


@dataclass(frozen=True)
class Reconnected:
    """A fleet that connects at once: seconds until each device has stored a segment, and the service's memory."""

    seconds: float
    stored: int
    memory_bytes: int


def measure_reconnect(folder: Path, devices: int) -> Reconnected:
    """`devices` connect at the same moment, and each uploads one segment. A refused one tries again."""
    with ServiceProcess(folder) as service:
        fleet = service.enrol("device", "fleet", [f"cam{n}" for n in range(devices)])
        waiting = [(device, device.segment()) for device in fleet]
        memory = 0

        def send(pair: tuple[LoadDevice, Segment]) -> bool:
            device, segment = pair
            for attempt in range(20):
                with contextlib.suppress(OSError):
                    status, _ = device.upload(segment)
                    if status == 201:
                        return True
                time.sleep(0.2 * (attempt + 1))
            return False

        begun = time.monotonic()
        with closing(fleet), ThreadPoolExecutor(devices) as pool:
            results = [pool.submit(send, pair) for pair in waiting]
            while not all(result.done() for result in results):
                memory = max(memory, service.memory_bytes())
                time.sleep(0.1)
            seconds = time.monotonic() - begun
            stored = sum(result.result() for result in results)
        return Reconnected(seconds, stored, memory)


def measure_throughput(folder: Path, workers: int, seconds: float = LOAD_SECONDS, senders: int = SENDERS) -> float:
    """Segments a second that a service with `workers` on PostgreSQL stores."""
    with postgresql() as url, ServiceProcess(folder, "--workers", str(workers), database=url) as service, \
            closing(service.enrol("device", "load", [f"cam{n}" for n in range(senders)])) as fleet:
        count = int(45 * seconds)  # 16 senders then have segments for 720 a second
        waiting = [(device, [device.segment(2000) for _ in range(count)]) for device in fleet]
        for device, segments in waiting:
            device.upload(segments.pop(0))
        end = time.monotonic() + seconds

        def send(pair: tuple[LoadDevice, list[Segment]]) -> int:
            device, segments = pair
            stored = 0
            for segment in segments:
                if time.monotonic() > end:
                    break
                status, _ = device.upload(segment)
                stored += status == 201
            return stored

        begun = time.monotonic()
        with ThreadPoolExecutor(senders) as pool:
            total = sum(pool.map(send, waiting))
        return total / (time.monotonic() - begun)


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of an empty database: of `$LEPTON_BENCH_DATABASE`, or of a server that is started for this."""
    given = os.environ.get("LEPTON_BENCH_DATABASE")
    if given:
        yield given
        return
    programs = [_postgresql_program(name) for name in ("initdb", "pg_ctl")]
    user = None if os.getuid() else "postgres"  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory(prefix="lepton-pg-") as folder:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"

        def call(*command: str) -> None:
            done = subprocess.run(command, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=120)
            if done.returncode:
                raise RuntimeError(f"{command[0]}: {done.stdout.strip()}")

        call(programs[0], "-D", data, "-U", "lepton", "-A", "trust", "-E", "UTF8", "--locale=C")
        call(programs[1], "-D", data, "-l", f"{folder}/log", "-w", "-o", f"-c listen_addresses= -k {folder}", "start")
        try:
            yield f"postgresql://lepton@/postgres?host={folder}"
        finally:
            call(programs[1], "-D", data, "-m", "immediate", "-w", "stop")


def _postgresql_program(name: str) -> str:
    """Debian does not have the server's programs in PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise RuntimeError(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


def _reconnect_seconds(place: Path) -> float:
    result = measure_reconnect(place, FLEET)
    if result.stored != FLEET:
        raise RuntimeError(f"{FLEET - result.stored} of {FLEET} segments were not stored")
    return result.seconds


SERVICE_ROWS: dict[str, tuple[str, float, bool, Callable[[Path], float]]] = {
    "service_attacks": ("x the quiet median", 2.0, False,
                        lambda place: _attack_ratio(measure_attacks(place, LoadScale()))),
    "service_reconnect": ("s", 60.0, False, _reconnect_seconds),
    "service_throughput": ("segments/s", 400.0, True, lambda place: measure_throughput(place, 2)),
}


def _attack_ratio(result: Attacked) -> float:
    if result.refused:
        raise RuntimeError(f"{result.refused} uploads of the honest device were refused")
    return result.ratio
