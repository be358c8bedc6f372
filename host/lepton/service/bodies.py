"""The body of a request: read with a least rate, and kept in memory only if it is small.

So a client that sends slowly holds its own connection and a part of a file, and nothing that others need.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

from .identity import Identity
from .limits import Limits
from .refusal import RequestRefused

# Larger bodies are in a temporary file until they are complete. 1000 clients then have at most 64 MB in memory.
SMALL_BYTES = 64 << 10
LARGE_BYTES = 1 << 20  # processed by few at the same time; the usual segment has 100 KB


class Incoming:
    """The bodies that are under way, by device and tenant."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._devices: set[Identity] = set()
        self._tenants: dict[str, int] = {}

    @contextmanager
    def announced(self, sender: Identity | None, length: int) -> Iterator[None]:
        """A body of `length` bytes is under way. Raises `RequestRefused` if it is one too many."""
        if sender is None or length <= SMALL_BYTES:
            yield
            return
        if sender in self._devices:
            raise RequestRefused(429, "busy", f"{sender} is sending another segment; send one after the other")
        tenant = self._tenants.get(sender.tenant, 0)
        if tenant + length > self._limits.tenant_incoming or self.size + length > self._limits.incoming:
            raise RequestRefused(429, "busy", "too many bodies are under way; try again later")
        self._devices.add(sender)
        self._tenants[sender.tenant] = tenant + length
        try:
            yield
        finally:
            self._devices.discard(sender)
            self._tenants[sender.tenant] -= length
            if not self._tenants[sender.tenant]:
                del self._tenants[sender.tenant]

    @property
    def size(self) -> int:
        """Announced bytes of all bodies under way."""
        return sum(self._tenants.values())


class RequestBody:
    """The bytes of a body as they arrive."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._file = tempfile.SpooledTemporaryFile(SMALL_BYTES)  # noqa: SIM115  # closed by `take` or `drop`
        self._size = 0

    async def read(self, receive: Receive) -> bool:
        """Read all of it; False if the client has disconnected. Raises `RequestRefused` if it comes too slowly."""
        limits = self._limits
        more = True
        while more:
            before = self._size
            try:
                async with asyncio.timeout(limits.body_seconds):
                    while more and self._size < before + limits.body_rate * limits.body_seconds:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return False
                        chunk = message.get("body", b"")
                        self._file.write(chunk)
                        self._size += len(chunk)
                        more = message.get("more_body", False)
            except TimeoutError:
                raise RequestRefused(
                    408, "slow", f"{self._size - before} bytes of the body arrived within {limits.body_seconds:g} "
                    f"seconds; the least rate is {limits.body_rate:g} bytes/s") from None
        return True

    def take(self) -> bytes:
        """The whole body, which is then no longer kept here."""
        self._file.seek(0)
        content = self._file.read()
        self._file.close()
        return content

    def drop(self) -> None:
        self._file.close()
