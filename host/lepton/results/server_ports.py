"""Ports of the local S3 server: those of its last start if they are free, otherwise others."""

import secrets
import socket
import time

PORTS = ("master", "volume", "filer", "s3")
GRPC = 10_000  # SeaweedFS's gRPC ports are as much higher
# From 10000 to 21999, so that the gRPC ports end below 32768, where Linux's ports for outgoing connections begin.
FIRST = 10_000
COUNT = 12_000


def choose(known: dict[str, int], patience: float) -> dict[str, int]:
    """Ports by their names. Those of a killed server are freed late: `known` ones are waited for, in seconds."""
    deadline = time.monotonic() + patience
    while set(known) >= set(PORTS):
        if all(_free(port) and _free(port + GRPC) for port in known.values()):
            return known
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    found: dict[str, int] = {}
    while len(found) < len(PORTS):
        port = FIRST + secrets.randbelow(COUNT)
        if port not in found.values() and _free(port) and _free(port + GRPC):
            found[PORTS[len(found)]] = port
    return found


def _free(port: int) -> bool:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
