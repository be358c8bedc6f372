"""Measures the way of results to a store: spooling, the cost of uploading for inference, and uploading of a backlog.

Records are those of the shipped network; spool and store are on the disk of the output folder.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import device as devices
from .. import models
from ..arch import PRESETS
from ..compiler import compile_graph
from ..runtime import Session, program_hash
from .drain import Drained, drain_folder, drain_s3
from .records import record

SECONDS = 2.0  # duration of the measurement of a rate
SERVICE = "service"  # the name of all `SERVICE_NAMES`, which are measured only if they are named
SERVICE_NAMES = ("service_attacks", "service_reconnect", "service_throughput")
PAIRS = 24  # pairs of blocks, one with and one without uploading
BLOCK = 40  # inferences of a block


@dataclass(frozen=True)
class CloudMeasurement:
    """A figure and its goal: the value must be at least the goal, or at most if `least` is False."""

    name: str
    value: float | None
    unit: str
    goal: float
    least: bool = True
    disk_syncs: float | None = None  # synced writes a second that the disk did at the time: the limit of single commits
    error: str | None = None
    bound: str | None = None  # what bounds the figure

    @property
    def reached(self) -> bool:
        return self.value is not None and (self.value >= self.goal if self.least else self.value <= self.goal)

    def record(self) -> dict:
        """The row of bench.json."""
        row = {"name": self.name, "value": self.value and round(self.value, 3), "unit": self.unit,
               "goal": self.goal, "reached": self.reached,
               "disk_syncs": self.disk_syncs and round(self.disk_syncs)}
        more = {"bound": self.bound, "error": self.error}
        return {**row, **{name: text for name, text in more.items() if text}}


def measure_cloud(name: str, folder: Path) -> CloudMeasurement:
    """One of `CLOUD_ROWS`, with its files in a temporary folder under `folder`."""
    unit, goal, least, measure = _row(name)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"{name}-") as place:
            before = _disk_syncs(Path(place))
            found = measure(Path(place))
            value = found.percent if isinstance(found, Drained) else found
            return CloudMeasurement(name, value, unit, goal, least, (before + _disk_syncs(Path(place))) / 2,
                                    bound=found.bound if isinstance(found, Drained) else None)
    except Exception as error:
        return CloudMeasurement(name, None, unit, goal, least, error=f"{type(error).__name__}: {error}")


def _row(name: str) -> tuple[str, float, bool, Callable[[Path], float | Drained]]:
    if name in CLOUD_ROWS:
        return CLOUD_ROWS[name]
    from .service_load import SERVICE_ROWS  # needs the extra `service`
    return SERVICE_ROWS[name]


def _disk_syncs(place: Path) -> float:
    """Appends of a page a second with a sync after each: the disk's limit, independent of the database."""
    handle = os.open(place / "syncs", os.O_WRONLY | os.O_CREAT)
    try:
        count = 0
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < SECONDS / 8:
            os.pwrite(handle, bytes(4096), 4096 * count)
            os.fdatasync(handle)
            count += 1
        return count / elapsed
    finally:
        os.close(handle)


def _rate(append: Callable[[int], int]) -> float:
    """Records a second that `append` stores; it gets the number of records so far and returns that of new ones."""
    count = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < SECONDS:
        count += append(count)
    return count / elapsed


def _batched(place: Path) -> float:
    from ..results import Spool
    from ..results.result_log import BATCH
    with Spool(place / "spool.db") as spool:
        batches = itertools.cycle([[record(b * BATCH + n) for n in range(BATCH)] for b in range(16)])
        return _rate(lambda _: spool.append_many("run", next(batches)))


def _single(place: Path) -> float:
    from ..results import Spool
    with Spool(place / "spool.db") as spool:
        records = itertools.cycle([record(n) for n in range(256)])
        return _rate(lambda _: spool.append("run", next(records)))


def _slowdown(place: Path) -> float:
    """How much longer an inference on the golden device takes while results are spooled and uploaded, in percent.

    Blocks with and without uploading alternate, so that other load of the machine affects both. The result is the mean
    of the middle 60 % of the ratios, since other load makes some of them extreme.
    """
    from ..results import DeviceKeys, ResultLog, Spool, Store, Uploader
    model = models.load("mnist")
    compiled = compile_graph(model.graph(), PRESETS["base"])
    with Spool(place / "spool.db") as spool, devices.open("golden", config=compiled.config) as device, \
            Session(compiled, device) as session, \
            Uploader(spool, Store(place / "store"), DeviceKeys.generate()), \
            ResultLog(spool, model=compiled.name, model_hash=compiled.source_hash,
                      program_hash=program_hash(compiled), config_hash=compiled.config_hash, device="golden") as log:
        def block(uploading: bool) -> float:
            started = time.monotonic()
            for i in range(BLOCK):
                result = session.run(model.inputs[i % len(model.inputs)][None])
                if uploading:
                    log.add(result.outputs, cycles=0, image=i)
            return time.monotonic() - started

        block(True)  # loads all modules and sends the first segments
        ratios = []
        for pair in range(PAIRS):
            times = {uploading: block(uploading) for uploading in ((True, False) if pair % 2 else (False, True))}
            ratios.append(times[True] / times[False])
        cut = PAIRS // 5
        return 100 * (statistics.mean(sorted(ratios)[cut:PAIRS - cut]) - 1)


CLOUD_ROWS: dict[str, tuple[str, float, bool, Callable[[Path], float | Drained]]] = {
    "spool_batched": ("results/s", 20_000.0, True, _batched),
    "spool_single": ("results/s", 2_000.0, True, _single),
    "upload_slowdown": ("%", 3.0, False, _slowdown),
    "upload_drain": ("% of the store's rate", 90.0, True, drain_folder),
    "upload_drain_s3": ("% of the store's rate", 90.0, True, drain_s3),
}


def measure_rows(names: list[str], folder: Path) -> Iterator[CloudMeasurement]:
    """The rows of these names, one after the other."""
    for name in names:
        yield measure_cloud(name, folder)
