"""Connections that the acceptor has taken and that no protocol serves yet."""

import asyncio
import socket
from dataclasses import dataclass

USUAL_SECONDS = 2.0  # a handshake takes two round trips, and longer only over the worst links


class Waiting:
    """A connection before its handshake."""

    def __init__(self, plain: socket.socket, address: str, key: str, since: float):
        self.plain = plain
        self.address = address
        self.key = key
        self.since = since
        self.speaks = False


@dataclass(frozen=True)
class Parked:
    """A connection that waits, unread, until its address has fewer."""

    plain: socket.socket
    address: str
    since: float


class Handshakes:
    """The handshakes under way, by address, the oldest first."""

    def __init__(self) -> None:
        self._began: dict[str, dict[asyncio.Task[None], float]] = {}  # times of the event loop, in seconds

    @property
    def count(self) -> int:
        """Those of all addresses."""
        return sum(map(len, self._began.values()))

    def of(self, key: str) -> int:
        """Those of one address."""
        return len(self._began.get(key, ()))

    def begin(self, key: str, task: asyncio.Task[None], now: float) -> None:
        self._began.setdefault(key, {})[task] = now

    def end(self, key: str, task: asyncio.Task[None]) -> None:
        group = self._began[key]
        del group[task]
        if not group:
            del self._began[key]

    def make_room(self, key: str, now: float) -> None:
        """Cancel one handshake so that `key` can have one: the oldest of the address that has most, if those are at
        least two more than `key` has; otherwise the oldest of all, if it takes longer than `USUAL_SECONDS`."""
        most = max(self._began, key=self.of)
        if self.of(most) > self.of(key) + 1:
            next(iter(self._began[most])).cancel()
            return
        task, since = min((next(iter(group.items())) for group in self._began.values()), key=lambda item: item[1])
        if since + USUAL_SECONDS < now:
            task.cancel()
