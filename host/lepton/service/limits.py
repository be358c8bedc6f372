"""Limits of the service: what one address, device or tenant may use, and how long a client may take.

With several workers the kernel distributes connections among them. Each worker has an equal share of rates and sums, so
that together they give no more than one process would (`Limits.of_worker`). The limits of one client's connections and
of what is processed at the same time are those of each worker.
"""

import ipaddress
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from ..results.segment import MAX_OBJECT_BYTES


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` events at once, and `per_second` on average."""

    per_second: float
    burst: float

    def divided(self, parts: int) -> "Rate":
        """One of equal parts; each permits at least one event."""
        return Rate(self.per_second / parts, max(1.0, self.burst / parts))


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    segment_bytes: int = MAX_OBJECT_BYTES
    head_seconds: float = 15.0  # for a request's head
    body_rate: float = 1024.0  # least bytes/s of a body: a link of 10 kB/s that ten devices share still has this
    body_seconds: float = 10.0  # period over which the rate of a body is measured
    answer_seconds: float = 15.0  # period over which the rate is measured at which a client takes an answer
    store_seconds: float = 20.0  # after which a client is told that the store does not answer

    # Before TLS. A connection that has sent nothing costs a file descriptor and some 2 KB.
    connections: int = 8192  # all; fewer if the system permits fewer open files
    silent_seconds: float = 10.0  # until the first byte
    handshake_seconds: float = 10.0  # from the first byte to the end of the TLS handshake
    address_silent: int = 256  # connections of an address that wait for the handshake; the oldest is closed for another
    replacement_rate: Rate = Rate(10, 256)  # connections that an address with `address_silent` gets for older ones
    handshakes: int = 128  # at the same time, each some 50 KB
    address_handshakes: int = 16  # of an address at the same time; further ones wait
    handshake_rate: Rate = Rate(50, 200)  # of an address; 1000 devices behind one address need 16 s
    stranger_rate: Rate = Rate(2, 10)  # handshakes of an address that has used up `mistakes`
    mistakes: Rate = Rate(0.1, 10)  # refused codes and failed handshakes of an address

    # With a certificate, or without one (enrolment).
    device_connections: int = 8
    tenant_connections: int = 4096
    address_strangers: int = 16  # connections without a certificate of an address
    strangers: int = 256  # connections without a certificate

    # Requests.
    device_rate: Rate = Rate(200, 2000)  # requests; a device that sends a backlog makes some 50/s
    tenant_rate: Rate = Rate(2000, 10000)
    reader_rate: Rate = Rate(10, 50)  # queries, which use the processor
    tenant_reader_rate: Rate = Rate(20, 100)
    object_rate: Rate = Rate(100, 1000)  # segments and heads that a reader gets: threads and the store, no processor
    tenant_object_rate: Rate = Rate(200, 2000)
    requests: int = 16  # that are processed at the same time; the others wait, tenants in turn
    large_requests: int = 2  # those of them whose body exceeds `LARGE_BYTES`, since it is in memory several times
    tenant_incoming: int = 1 << 30  # bytes of bodies under way; those of large bodies are on disk
    incoming: int = 4 << 30

    def of_worker(self, workers: int) -> "Limits":
        """The limits of one of `workers` processes: its share of rates and sums."""
        if workers == 1:
            return self
        return replace(
            self, replacement_rate=self.replacement_rate.divided(workers),
            handshake_rate=self.handshake_rate.divided(workers), stranger_rate=self.stranger_rate.divided(workers),
            mistakes=self.mistakes.divided(workers), device_rate=self.device_rate.divided(workers),
            tenant_rate=self.tenant_rate.divided(workers), reader_rate=self.reader_rate.divided(workers),
            tenant_reader_rate=self.tenant_reader_rate.divided(workers), object_rate=self.object_rate.divided(workers),
            tenant_object_rate=self.tenant_object_rate.divided(workers),
            tenant_connections=-(-self.tenant_connections // workers), strangers=-(-self.strangers // workers),
            tenant_incoming=self.tenant_incoming // workers, incoming=self.incoming // workers)

    def shared_by(self, files: int) -> int:
        """Connections that a process with `files` file descriptors takes: some are for the database and objects."""
        return max(64, min(self.connections, files - 256))


class Buckets:
    """Token buckets by key. A key that has not been used for long is forgotten, as its bucket is full again."""

    MOST = 50_000  # keys, at some 200 bytes each; beyond, the oldest are forgotten

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic):
        self._rate = rate
        self._clock = clock
        self._levels: dict[Hashable, tuple[float, float]] = {}  # number of tokens, and when it was counted

    def take(self, key: Hashable, tokens: float = 1.0) -> float:
        """Take tokens if there are enough. Returns 0, or the seconds until there will be."""
        level = self.level(key)
        missing = tokens - level
        if missing > 1e-9:  # rounding of the level must not make a full bucket too small
            return missing / self._rate.per_second
        self._levels.pop(key, None)  # inserted again at the end: the dict is ordered by use
        self._levels[key] = (level - tokens, self._clock())
        if len(self._levels) > self.MOST:
            del self._levels[next(iter(self._levels))]
        return 0.0

    def level(self, key: Hashable) -> float:
        """Tokens of a key."""
        tokens, then = self._levels.get(key, (self._rate.burst, 0.0))
        return min(self._rate.burst, tokens + (self._clock() - then) * self._rate.per_second)


def address_key(address: str) -> str:
    """The unit that limits by address use: an IPv4 address, or the /64 network of an IPv6 address, which is usually one
    customer's (RFC 6177)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False).network_address)
    return str(parsed)
