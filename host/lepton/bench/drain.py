"""Measures how fast a backlog is uploaded after an outage, in percent of the store's own rate.

The store's own rate is measured with as many writers as the uploader has lanes. They write the same objects through the
same `Store`, and each waits until its object is durable. They have the objects in memory and do nothing else; the
uploader reads them from its spool, checks them, and confirms them on disk. Its time begins at the end of the outage, so
it includes the time until it notices that the store is back, and ends with the last confirmation.
"""

import contextlib
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .records import record

if TYPE_CHECKING:  # needs the extra `cloud`, which other rows do not
    from ..results import DeviceKeys, Store

BACKLOG = 1_200_000  # records of one minute at 20 000 results/s
SEGMENT_RECORDS = 5000  # the defaults of `Uploader`
SEGMENT_BYTES = 4 << 20
OUTAGES = 15  # each takes below 1 s; the ratio of medians of 15 varies by a few percent between runs (docs/cloud.md)
PATIENCE = 120.0  # seconds until the measurement fails; it usually takes below 1


class Drained(NamedTuple):
    """`percent` of the store's own rate, and what bounds it: milliseconds of a segment, and of that of a processor."""

    percent: float
    bound: str


class _Time(NamedTuple):
    """Seconds by the clock, and of all this process's threads on processors."""

    clock: float
    processor: float


def drain_folder(place: Path) -> Drained:
    """The rate to a folder on the same disk as the spool, in percent of the store's own rate."""
    from ..results import Store
    return _drain(place, lambda name: Store(place / name))


def drain_s3(place: Path) -> Drained:
    """The same to a SeaweedFS on this machine. Server and uploader run on different processors, like two machines."""
    from ..results import Store, server
    with _half_of_the_processors(0):
        started = server.up(place / "server")
    try:
        with _half_of_the_processors(1):
            return _drain(place, lambda name: Store(f"{started.url}/{name}", **started.options(),
                                                    client_options={"allow_http": True}))
    finally:
        server.down(place / "server")


@contextlib.contextmanager
def _half_of_the_processors(which: int) -> Iterator[None]:
    """Run this process, and those that it starts meanwhile, on every second processor (on all if there is one)."""
    if not hasattr(os, "sched_setaffinity"):  # not on Linux
        yield
        return
    usual = sorted(os.sched_getaffinity(0))
    try:
        _run_on(usual[which::2] or usual)
        yield
    finally:
        _run_on(usual)


def _run_on(processors: Sequence[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), processors)


class Outage:
    """A target that does not answer while `down` is set, as at first."""

    def __init__(self, store: "Store"):
        self.store = store
        self.down = True
        self.where = store.where
        self.place = store.place
        self.tenant = store.tenant
        self.lanes = store.lanes
        self.group = store.group

    def identify(self, expected: str | None = None) -> str:
        self._check()
        return self.store.identify(expected)

    def put_new(self, key: str, data: bytes) -> bool:
        self._check()
        return self.store.put_new(key, data)

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        self._check()
        return self.store.put_all(objects)

    def put_head(self, key: str, data: bytes) -> None:
        self._check()
        self.store.put_head(key, data)

    def _check(self) -> None:
        from ..results import Unavailable
        if self.down:
            raise Unavailable("the store does not answer", 0.2)


def _drain(place: Path, open_store: Callable[[str], "Store"]) -> Drained:
    """The store's own rate and `OUTAGES` with the same backlog alternate, so that other load affects both alike.

    The result is the ratio of the medians: a single ratio varies by some 20 % with what else the machine does.
    """
    from ..results import DeviceKeys, Outbox, Spool
    from ..results.segment import join_key, sha256, split_key
    keys = DeviceKeys.generate()
    backlog = place / "backlog.db"
    _make_backlog(backlog, keys)
    with Spool(backlog) as spool:
        objects = [(s.key, s.data) for s in Outbox(spool, keys).next(BACKLOG)]
        before = join_key(split_key(objects[0][0])._replace(sequence=len(objects), digest=sha256(b"")))

    def opened(name: str) -> "Store":
        store = open_store(name)
        store.put_new(before, b"")  # the store has had an object of this device before, so its folder exists
        return store

    own: list[_Time] = []
    uploads: list[_Time] = []
    for outage in range(OUTAGES):
        copy = place / f"{outage}.db"
        stores = [opened(f"{outage}{use}") for use in ("own", "uploaded")]
        shutil.copy(backlog, copy)
        os.sync()  # otherwise the system would write the copy during the measurement
        own.append(_timed(_put_all, stores[0], objects))
        uploads.append(_timed(_upload, copy, keys, stores[1]))
        copy.unlink()
    percent = 100 * statistics.median(one.clock for one in own) / statistics.median(one.clock for one in uploads)
    return Drained(percent, f"writers {_described(own, len(objects))}, uploader {_described(uploads, len(objects))}")


def _timed(work: Callable[..., float], *arguments: object) -> _Time:
    """`work` returns the seconds that count."""
    started = time.process_time()
    clock = work(*arguments)
    return _Time(clock, time.process_time() - started)


def _described(times: Sequence[_Time], segments: int) -> str:
    clock = 1000 * statistics.median(one.clock for one in times) / segments
    processor = 1000 * statistics.median(one.processor for one in times) / segments
    return f"{clock:.2f} ms a segment, {processor:.2f} of a processor"


def _make_backlog(path: Path, keys: "DeviceKeys") -> None:
    """A spool as it is after an outage: only segments, as the uploader makes them meanwhile."""
    from ..results import Outbox, Spool
    with Spool(path) as spool:
        outbox = Outbox(spool, keys)
        for first in range(0, BACKLOG, SEGMENT_RECORDS):
            spool.append_many("run", [record(number) for number in range(first, first + SEGMENT_RECORDS)])
            outbox.seal(SEGMENT_RECORDS, SEGMENT_BYTES)


def _upload(path: Path, keys: "DeviceKeys", store: "Store") -> float:
    """Seconds until the backlog is uploaded."""
    from ..results import Spool, Uploader
    target = Outage(store)
    with Spool(path) as spool, Uploader(spool, target, keys, backoff_base=0.2, backoff_cap=0.2) as uploader:
        while not uploader.status.failures:
            time.sleep(0.01)
        started = time.monotonic()
        target.down = False
        if not uploader.flush(PATIENCE):
            raise TimeoutError(f"the backlog was not uploaded within {PATIENCE:g} s: {uploader.status.last_error}")
        return time.monotonic() - started


def _put_all(store: "Store", objects: list[tuple[str, bytes]]) -> float:
    """Seconds that `store.lanes` threads need to store the objects; raises what the store raises."""
    lock = threading.Lock()
    left = iter(objects)
    errors: list[Exception] = []

    def take() -> Iterator[tuple[str, bytes]]:
        while True:
            with lock:
                found = next(left, None)
            if found is None or errors:
                return
            yield found

    def write() -> None:
        try:
            for key, data in take():
                store.put_new(key, data)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(store.lanes)]
    started = time.monotonic()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if errors:
        raise errors[0]
    return time.monotonic() - started
