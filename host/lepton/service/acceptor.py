"""Accepts connections, with limits by address before TLS.

asyncio's own server makes a TLS object of 300 KB for every connection, also for one that never sends a byte. Here a
connection passes three stages:

1. *Silent*: only a file descriptor, until the first byte arrives. An address has a limited number of them; if it opens
   more, its oldest one is closed. That is done at a limited rate: beyond it, further connections of the address are
   *parked*, which means that nothing looks at them until there is room or their time is over. So a client that opens
   connections again as soon as they are closed finds them open, and costs no processor time.
2. *Queued*: the first byte is there, but the address has as many handshakes under way as it may, or too many a second.
   Addresses are served in turn.
3. *Handshake*, with a time limit. Then the connection belongs to its protocol.
"""

import asyncio
import asyncio.sslproto
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial

from .arrivals import Handshakes, Parked, Waiting
from .limits import Buckets, Limits, address_key
from .refusal import RefusalReport, RequestRefused

SWEEP_SECONDS = 0.25  # between looks at time limits and rates
ACCEPT_AT_ONCE = 16  # connections in a turn of the event loop: each takes some 50 us
FULL_SECONDS = 0.1  # pause if the system has no file descriptor left
# asyncio.sslproto reads into a buffer of this size, 256 KiB by default, which it fills with zeros for each connection.
# A TLS record has at most 16 KiB (RFC 8446, section 5.1).
TLS_BUFFER = 32 << 10


class Acceptor:
    """Takes connections of `listener`.

    Behind proxies that end TLS, `context` is None, and `proxies` has their addresses.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol],
                 context: ssl.SSLContext | None, limits: Limits, connections: int, report: RefusalReport, *,
                 proxies: frozenset[str] = frozenset()):
        self._listener = listener
        self._protocol = protocol
        self._context = context
        self._limits = limits
        self._connections = connections
        self._report = report
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._open = 0  # connections of all stages
        self._waiting: dict[str, dict[Waiting, None]] = {}  # by address, the oldest first
        self._parked: dict[str, deque[Parked]] = {}  # by address, the oldest first
        self._replacements = Buckets(limits.replacement_rate)
        self._queued: dict[str, deque[Waiting]] = {}  # by address; the first address is served next
        self._handshakes = Handshakes()
        self._rates = Buckets(limits.handshake_rate)
        self._strangers = Buckets(limits.stranger_rate)
        self.mistakes = Buckets(limits.mistakes)
        self._tasks: set[asyncio.Task[None]] = set()
        self.silent_closed = 0

    def open(self) -> None:
        """Begin to accept."""
        asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)
        self._start(self._sweep())

    def close(self) -> None:
        """Accept nothing more, and close what has not finished its handshake."""
        for task in list(self._tasks):
            task.cancel()
        for waiting in [w for group in self._waiting.values() for w in group]:
            self._drop(waiting)
        for parked in [p for group in self._parked.values() for p in group]:
            parked.plain.close()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def released(self) -> None:
        """A connection that passed the handshake has ended."""
        self._open -= 1

    def mistake(self, address: str) -> None:
        """An unidentified client at `address` was refused. Many such refusals slow its further handshakes."""
        self.mistakes.take(address_key(address))

    def erring(self, address: str) -> float:
        """0, or the seconds for which an address that has made too many mistakes must wait."""
        level = self.mistakes.level(address_key(address))
        return 0.0 if level >= 1 else (1 - level) / self._limits.mistakes.per_second

    @property
    def counts(self) -> dict[str, int]:
        """Connections by stage."""
        waiting = sum(map(len, self._waiting.values()))
        queued = sum(map(len, self._queued.values()))
        shaking = self._handshakes.count
        parked = sum(map(len, self._parked.values()))
        return {"silent": waiting - queued, "parked": parked, "queued": queued, "handshake": shaking,
                "open": self._open - waiting - parked - shaking}

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _accept(self) -> None:
        """Take what waits in the kernel, but not too many at once: other work must get its turn."""
        for _ in range(ACCEPT_AT_ONCE):
            try:
                plain, name = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor left, or the client has gone
                self._drop_oldest()
                self._loop.remove_reader(self._listener)
                self._loop.call_later(FULL_SECONDS, self._accept_again)
                return
            self._take(plain, name[0])

    def _accept_again(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _take(self, plain: socket.socket, address: str) -> None:
        plain.setblocking(False)
        if self._context is None and address not in self._proxies:
            self._report("connection", RequestRefused(403, "not_yours", "only the proxy may connect"), address)
            plain.close()
            return
        key = address_key(address)
        if self._open >= self._connections and not self._drop_oldest():
            plain.close()  # every connection is one with a certificate, or in a handshake that will end soon
            return
        self._open += 1
        if address in self._proxies or self._has_room(key):
            self._watch(plain, address, key)
        else:
            self._parked.setdefault(key, deque()).append(Parked(plain, address, self._loop.time()))

    def _has_room(self, key: str) -> bool:
        """Whether an address may have one more connection before its handshake, if need be in place of its oldest
        silent one."""
        group = self._waiting.get(key, {})
        if len(group) < self._limits.address_silent:
            return True
        oldest = next((w for w in group if not w.speaks), None)
        if oldest is None or self._replacements.take(key):
            return False
        self._drop(oldest)
        return True

    def _watch(self, plain: socket.socket, address: str, key: str) -> None:
        waiting = Waiting(plain, address, key, self._loop.time())
        self._waiting.setdefault(key, {})[waiting] = None
        self._loop.add_reader(plain, self._speaks, waiting)

    def _unpark(self, patience: float) -> None:
        """Take parked connections where there is room, the newest first, and close those that have waited too long."""
        now = self._loop.time()
        for key, parked in list(self._parked.items()):
            while parked and parked[0].since + patience <= now:
                parked.popleft().plain.close()
                self._open -= 1
                self.silent_closed += 1
            while parked and self._has_room(key):
                newest = parked.pop()
                self._watch(newest.plain, newest.address, key)
            if not parked:
                del self._parked[key]

    def _speaks(self, waiting: Waiting) -> None:
        """The first byte has arrived, or the client has closed the connection."""
        try:
            first = waiting.plain.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        if not first:
            self._drop(waiting)
            return
        self._loop.remove_reader(waiting.plain)
        waiting.speaks = True
        self._queued.setdefault(waiting.key, deque()).append(waiting)
        self._serve()

    def _serve(self) -> None:
        """Start the handshakes that the limits permit, one of each address in turn."""
        for key in list(self._queued):
            if self._handshakes.count >= self._limits.handshakes:
                self._handshakes.make_room(key, self._loop.time())
                continue
            queue = self._queued[key]
            started = False
            while queue and self._may_start(key):
                waiting = queue.popleft()
                self._forget(waiting)
                task = self._start(self._shake_hands(waiting))
                self._handshakes.begin(key, task, self._loop.time())
                task.add_done_callback(partial(self._handshake_ended, key))
                started = True
                if len(self._queued) > 1:
                    break
            if started or not queue:  # to the end of the order
                del self._queued[key]
                if queue:
                    self._queued[key] = queue

    def _may_start(self, key: str) -> bool:
        if key in self._proxies:
            return True
        if self._handshakes.of(key) >= self._limits.address_handshakes:
            return False
        rates = self._rates if self.mistakes.level(key) >= 1 else self._strangers
        return rates.take(key) == 0

    async def _shake_hands(self, waiting: Waiting) -> None:
        try:
            if self._context is None:
                await self._loop.connect_accepted_socket(self._protocol, waiting.plain)
            else:
                await self._loop.connect_accepted_socket(
                    self._protocol, waiting.plain, ssl=self._context, ssl_shutdown_timeout=2.0,
                    ssl_handshake_timeout=self._limits.handshake_seconds)
        except (OSError, asyncio.CancelledError):  # ssl.SSLError and ConnectionError are OSError
            self._open -= 1
            self.mistake(waiting.address)
            waiting.plain.close()

    def _handshake_ended(self, key: str, task: asyncio.Task[None]) -> None:
        self._handshakes.end(key, task)
        if self._queued:
            self._loop.call_soon(self._serve)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            patience = self._limits.silent_seconds
            for group in list(self._waiting.values()):
                for waiting in list(group):
                    if waiting.since + (patience if not waiting.speaks else 3 * patience) > now:
                        continue
                    self._drop(waiting)
                    self.silent_closed += 1
            self._unpark(patience)
            self._serve()

    def _drop_oldest(self) -> bool:
        """Close the oldest connection of the address that has most before their handshake; False if there is none."""
        if self._parked:
            key = max(self._parked, key=lambda address: len(self._parked[address]))
            self._parked[key].popleft().plain.close()
            self._open -= 1
            if not self._parked[key]:
                del self._parked[key]
            return True
        if not self._waiting:
            return False
        group = max(self._waiting.values(), key=len)
        self._drop(next((w for w in group if not w.speaks), next(iter(group))))
        return True

    def _drop(self, waiting: Waiting) -> None:
        self._open -= 1
        if waiting.speaks:
            queue = self._queued[waiting.key]
            queue.remove(waiting)
            if not queue:
                del self._queued[waiting.key]
        self._loop.remove_reader(waiting.plain)
        self._forget(waiting)
        with contextlib.suppress(OSError):
            waiting.plain.close()

    def _forget(self, waiting: Waiting) -> None:
        group = self._waiting[waiting.key]
        del group[waiting]
        if not group:
            del self._waiting[waiting.key]
