"""The open connections after their TLS handshake, with limits by device, tenant and address."""

from typing import Protocol

from .identity import Identity
from .limits import Limits, address_key


class Connection(Protocol):
    """What `Connections` needs of a connection."""

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""

    def abort(self) -> None:
        """End the connection at once."""

    def unsent(self) -> tuple[int, int]:
        """Number of the answer, and bytes of it that the client has not taken."""


class Connections:
    """Admits connections. If a device or an address has too many, its oldest one ends: after a loss of the network, a
    device connects again while its former connections still seem to be open."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._owners: dict[Connection, tuple[Identity | None, str]] = {}
        self._devices: dict[Identity, dict[Connection, None]] = {}
        self._tenants: dict[str, int] = {}
        self._strangers: dict[str, dict[Connection, None]] = {}  # by address
        self._unsent: dict[Connection, tuple[int, int]] = {}

    def admit(self, connection: Connection, identity: Identity | None, address: str) -> bool:
        """Take a connection; False if its tenant has too many."""
        if identity is None:
            group = self._strangers.setdefault(address_key(address), {})
            if len(group) >= self._limits.address_strangers:
                next(iter(group)).abort()
            elif sum(map(len, self._strangers.values())) >= self._limits.strangers:
                next(iter(self._strangers[max(self._strangers, key=lambda a: len(self._strangers[a]))])).abort()
            group = self._strangers.setdefault(address_key(address), {})
        else:
            if self._tenants.get(identity.tenant, 0) >= self._limits.tenant_connections:
                return False
            group = self._devices.setdefault(identity, {})
            if len(group) >= self._limits.device_connections:
                (next((c for c in group if c.idle), None) or next(iter(group))).abort()
                group = self._devices.setdefault(identity, {})
            self._tenants[identity.tenant] = self._tenants.get(identity.tenant, 0) + 1
        group[connection] = None
        self._owners[connection] = (identity, address_key(address))
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended, if it was admitted."""
        owner = self._owners.pop(connection, None)
        self._unsent.pop(connection, None)
        if owner is None:
            return
        identity, address = owner
        if identity is None:
            self._strangers[address].pop(connection)
            if not self._strangers[address]:
                del self._strangers[address]
            return
        self._tenants[identity.tenant] -= 1
        self._devices[identity].pop(connection)
        if not self._devices[identity]:
            del self._devices[identity]
        if not self._tenants[identity.tenant]:
            del self._tenants[identity.tenant]

    def abort_stalled(self, least: float) -> int:
        """End connections whose client has taken less than `least` bytes of its answer since the last call; their
        number."""
        now = {c: c.unsent() for c in self._owners}
        now = {c: unsent for c, unsent in now.items() if unsent[1]}
        stalled = [c for c, (answer, size) in now.items()
                   if c in self._unsent and self._unsent[c][0] == answer and size > self._unsent[c][1] - least]
        self._unsent = now
        for connection in stalled:
            connection.abort()
        return len(stalled)

    @property
    def counts(self) -> dict[str, int]:
        """Connections with and without a certificate."""
        strangers = sum(map(len, self._strangers.values()))
        return {"identified": len(self._owners) - strangers, "stranger": strangers}
