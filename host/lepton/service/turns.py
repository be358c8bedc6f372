"""How work is divided among threads: fair turns of tenants, a pool for each purpose, a circuit breaker for the store.

Uploads, reading of the index and reading of objects have threads of their own. So a store that does not answer delays
neither queries nor the checks of certificates.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from ..results.errors import Unavailable

T = TypeVar("T")

INDEX_THREADS = 8  # as many as connections to the database
STORE_THREADS = 16  # for uploads, and as many for reading; each waits for the store most of the time
READER_THREADS = 1  # queries of readers: they use the processor, which uploads need
READER_REST = 1.0  # so at most half of the time, as Python runs one thread at a time
SLOW_SECONDS = 1.0  # a call that fails later than this counts as a failure for the breaker
FAILURES = 5  # of the store one after the other, after which it is not asked for `PAUSE_SECONDS`
PAUSE_SECONDS = 5.0


class Turns:
    """At most `size` holders at the same time. Those that wait get their turn by group, one of each after another."""

    def __init__(self, size: int):
        self._free = size
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the first group is served next

    @asynccontextmanager
    async def turn(self, group: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it."""
        await self._acquire(group)
        try:
            yield
        finally:
            self._release()

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def _acquire(self, group: str) -> None:
        if self._free:
            self._free -= 1
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(group, deque()).append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._release()  # the turn came at the same time
            raise

    def _release(self) -> None:
        while self._waiting:
            group, queue = next(iter(self._waiting.items()))
            future = queue.popleft()
            del self._waiting[group]
            if queue:
                self._waiting[group] = queue  # at the end
            if not future.done():
                future.set_result(None)
                return
        self._free += 1


class Breaker:
    """Refuses calls for `PAUSE_SECONDS` after `FAILURES` failures; then one call is tried, and decides what follows."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic):
        self._what = what
        self._clock = clock
        self._failures = 0
        self._closed_until = 0.0

    @property
    def broken(self) -> bool:
        return self._failures >= FAILURES

    def check(self) -> None:
        """Raises `Unavailable` while calls are refused."""
        if self.broken:
            now = self._clock()
            if now < self._closed_until:
                raise Unavailable(f"{self._what} has failed {self._failures} times; it is tried again in "
                                  f"{self._closed_until - now:.1f} s")
            self._closed_until = now + PAUSE_SECONDS  # this call tries it, further ones wait for its outcome

    def failed(self) -> None:
        self._failures += 1
        if self.broken:
            self._closed_until = self._clock() + PAUSE_SECONDS

    def succeeded(self) -> None:
        self._failures = 0


class Pool:
    """Threads for one purpose, kept between calls: a call costs a third of one in `anyio`'s threads.

    With a breaker, a caller stops waiting after `seconds`. The call goes on in its thread, and another one takes its
    place, up to twice as many. A pool of one thread may `rest` after a call, for this many times as long as the call
    took; only calls that come meanwhile wait.
    """

    def __init__(self, name: str, threads: int, seconds: float | None = None, breaker: Breaker | None = None, *,
                 rest: float = 0.0):
        self._threads = threads
        self._running = 0  # calls, also those whose caller has stopped waiting
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads if breaker is None else 2 * threads, f"lepton-{name}")
        self._turns = asyncio.Semaphore(threads)
        self._seconds = seconds
        self._breaker = breaker
        self._rest = rest
        self._resting_until = 0.0

    def close(self) -> None:
        """Begin no further call, and wait for none."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """The function's result. Raises `Unavailable` after `seconds`, or at once while the breaker is open."""
        loop = asyncio.get_running_loop()
        if self._breaker is None:
            call = partial(function, *arguments)
            return await loop.run_in_executor(self._executor, partial(self._rested, call) if self._rest else call)
        self._breaker.check()
        if self._running >= 2 * self._threads:
            raise Unavailable(f"{self._running} calls of the store have not returned")
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                result = await loop.run_in_executor(self._executor, self._counted, function, arguments)
        except TimeoutError as error:
            self._breaker.failed()
            raise Unavailable(f"the store has not answered within {self._seconds:g} s") from error
        except (OSError, Unavailable):
            if time.monotonic() - begun > SLOW_SECONDS:  # a quick failure occupies no thread
                self._breaker.failed()
            raise
        self._breaker.succeeded()
        return result

    def _rested(self, call: Callable[[], T]) -> T:
        time.sleep(max(0.0, self._resting_until - time.monotonic()))
        begun = time.monotonic()
        try:
            return call()
        finally:
            end = time.monotonic()
            self._resting_until = end + self._rest * (end - begun)

    def _counted(self, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
        with self._lock:
            self._running += 1
        try:
            return function(*arguments)
        finally:
            with self._lock:
                self._running -= 1


class Pools:
    """The pools of a process: `index` for uploads and identities, `readers` for queries, `put`, `get` for objects."""

    def __init__(self, store_seconds: float) -> None:
        self.put_breaker = Breaker("storing of objects")
        self.get_breaker = Breaker("reading of objects")
        self.index = Pool("index", INDEX_THREADS)
        self.readers = Pool("readers", READER_THREADS, rest=READER_REST)
        self.put = Pool("put", STORE_THREADS, store_seconds, self.put_breaker)
        self.get = Pool("get", STORE_THREADS, store_seconds, self.get_breaker)

    def close(self) -> None:
        """See `Pool.close`."""
        for pool in (self.index, self.readers, self.put, self.get):
            pool.close()
