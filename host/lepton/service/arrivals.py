"""Connections that the acceptor has taken and that no protocol serves yet."""

import socket
from dataclasses import dataclass


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
