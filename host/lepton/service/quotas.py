"""Limits of a tenant that the database has: bytes of stored segments, and devices."""

import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection, func, select

from . import tables
from .database import IndexDatabase
from .refusal import RequestRefused

# Between readings of a tenant's sums. In between, the bytes that this process has stored are added. With several
# processes a quota is exceeded by what the others store in this time, so near its end the sums are read each time.
READ_SECONDS = 10.0
NEAR = 0.9  # of a quota
RETRY_SECONDS = 300  # that a device waits: until an operator or the retention makes room


class Quotas:
    """Checks quotas. `clock` returns seconds of any beginning."""

    def __init__(self, database: IndexDatabase, clock: Callable[[], float] = time.monotonic):
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, int | None, int]] = {}  # when it was read, the limit, and the bytes

    def check(self, tenant: str, size: int) -> None:
        """Count `size` bytes that are to be stored. Raises `RequestRefused` if they exceed the tenant's quota."""
        with self._lock:
            found = self._known.get(tenant)
        now = self._clock()
        if found is None or found[0] + READ_SECONDS < now:
            found = (now, *self._read(tenant))
        elif found[1] is not None and found[2] + size > NEAR * found[1]:
            limit, stored = self._read(tenant)
            found = (found[0], limit, max(found[2], stored))  # what is being stored is not in the database yet
        read, limit, used = found
        if limit is not None and used + size > limit:
            with self._lock:
                self._known[tenant] = found
            raise RequestRefused(507, "quota", f"tenant {tenant} has stored {used} bytes, its quota is {limit}; ask "
                                 "the operator for more, or to delete old results", retry_after=RETRY_SECONDS)
        with self._lock:
            self._known[tenant] = (read, limit, used + size)

    def _read(self, tenant: str) -> tuple[int | None, int]:
        with self._database.read() as connection:
            limit = connection.scalar(select(tables.tenants.c.max_bytes).filter_by(tenant=tenant))
            if limit is None:
                return None, 0
            return limit, connection.scalar(select(func.coalesce(func.sum(tables.spools.c.bytes), 0))
                                            .filter_by(tenant=tenant)) or 0


def check_devices(connection: Connection, tenant: str, device: str) -> None:
    """Raises `RequestRefused` if `device` is a new one, and its tenant has as many devices as it may."""
    limit = connection.scalar(select(tables.tenants.c.max_devices).filter_by(tenant=tenant))
    if limit is None:
        return
    devices = tables.devices
    known = connection.scalar(select(func.count()).select_from(devices).filter_by(tenant=tenant, device=device))
    count = connection.scalar(select(func.count()).select_from(devices).filter_by(tenant=tenant)) or 0
    if not known and count >= limit:
        raise RequestRefused(403, "quota", f"tenant {tenant} has {limit} devices, which is its quota")
