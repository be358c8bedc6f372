"""How fast a backlog leaves after an outage, in percent of the rate that the store itself gives.

The store's own rate is what it gives to as many writers as the uploader has, with the same objects, through the same
`Store`, each waiting until its object is stored for good. They have the objects in memory and do nothing else; the
uploader reads them from its spool, checks them, and confirms them on disk. Its time is that from the end of the
outage to the last confirmation: what it takes to find out that the store is back counts.
"""

import contextlib
import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .records import record

BACKLOG = 1_200_000  # records: what a minute leaves at 20 000 results/s, in segments as the uploader makes them
SEGMENT_RECORDS, SEGMENT_BYTES = 5000, 4 << 20
OUTAGES = 9
PATIENCE = 120.0  # seconds


def drain_folder(place: Path) -> float:
    """To a folder on the same disk as the spool."""
    from ..results import Store
    return _drain(place, lambda name: Store(place / name))


def drain_s3(place: Path) -> float:
    """To a SeaweedFS on this machine; it and the uploader have a processor each, as the machines they stand for."""
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
    """For this process, and for those that it starts meanwhile; all of them where there is but one."""
    if not hasattr(os, "sched_setaffinity"):  # Linux has it
        yield
        return
    usual = os.sched_getaffinity(0)
    half = sorted(usual)[which::2] or usual
    try:
        _run_on(half)
        yield
    finally:
        _run_on(usual)


def _run_on(processors) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), processors)


class Outage:
    """A store that is away at first."""

    def __init__(self, store):
        self.store, self.down = store, True
        self.where, self.place, self.lanes, self.group = store.where, store.place, store.lanes, store.group

    def identify(self, expected: str | None = None) -> str:
        self._check()
        return self.store.identify(expected)

    def put_new(self, key: str, data: bytes) -> bool:
        self._check()
        return self.store.put_new(key, data)

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> list[str]:
        self._check()
        return self.store.put_all(objects)

    def _check(self) -> None:
        from ..results import Unavailable
        if self.down:
            raise Unavailable("the store is away", 0.2)


def _drain(place: Path, open_store: Callable) -> float:
    """The median over `OUTAGES`, with the same backlog each; the store's own rate is measured before and after each."""
    from ..results import DeviceKeys, Outbox, Spool
    from ..results.segment import key_of, sha256
    keys = DeviceKeys.generate()
    backlog = place / "backlog.db"
    _make_backlog(backlog, keys)
    with Spool(backlog) as spool:
        objects = [(s.key, s.data) for s in Outbox(spool, keys).next(BACKLOG)]
        before = key_of(spool.device, len(objects), sha256(b""))

    def opened(name: str):
        store = open_store(name)
        store.put_new(before, b"")  # there has been something from this device before
        return store

    ratios = []
    for outage in range(OUTAGES):
        spool, stores = place / f"{outage}.db", [opened(f"{outage}{use}") for use in ("before", "uploaded", "after")]
        shutil.copy(backlog, spool)
        os.sync()  # the copy is not to be written while it is measured
        own = _put_all(stores[0], objects)
        taken = _upload(spool, keys, stores[1])
        ratios.append(100 * (own + _put_all(stores[2], objects)) / 2 / taken)
    return statistics.median(ratios)


def _make_backlog(path: Path, keys) -> None:
    """A spool as it is after an outage: nothing but segments, as the uploader makes them meanwhile."""
    from ..results import Outbox, Spool
    with Spool(path) as spool:
        outbox = Outbox(spool, keys)
        for first in range(0, BACKLOG, SEGMENT_RECORDS):
            spool.append_many("run", [record(number) for number in range(first, first + SEGMENT_RECORDS)])
            outbox.seal(SEGMENT_RECORDS, SEGMENT_BYTES)


def _upload(path: Path, keys, store) -> float:
    """Seconds until the backlog has left."""
    from ..results import Spool, Uploader
    target = Outage(store)
    with Spool(path) as spool, Uploader(spool, target, keys, backoff_base=0.2, backoff_cap=0.2) as uploader:
        while not uploader.status.failures:
            time.sleep(0.01)
        started = time.monotonic()
        target.down = False
        if not uploader.flush(PATIENCE):
            raise TimeoutError(f"the backlog did not leave within {PATIENCE:g} s: {uploader.status.last_error}")
        return time.monotonic() - started


def _put_all(store, objects: list[tuple[str, bytes]]) -> float:
    """Seconds that writers who have the objects in memory need; raises what the store raises."""
    lock, left, errors = threading.Lock(), iter(objects), []

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
