"""Claims: a device is used by one driver, or one controller with its clients, in one process.

A second user would hand out the same memory again and ring the same doorbell, and results would be wrong without an
error. A claim is held by a driver or controller until it is closed or no longer referenced.
"""

import os
import threading
import weakref

from .errors import DriverError

_lock = threading.RLock()  # reentrant: a holder may be collected, and its claim dropped, while this is held


class Claim:
    """The use of a device, or of a client of the controller, by one `holder`. Raises `DriverError` if it is in use."""

    def __init__(self, resource: object, holder: object, remedy: str):
        self._key = id(resource)  # the holder keeps the resource alive, so that no other gets its identity
        self._process = os.getpid()
        with _lock:
            other = _claims.get(self._key)
            if other is not None and other.holder is not None:
                other.check_process()
                raise DriverError(f"the {_name(resource)} is in use by another {type(other.holder).__name__}; {remedy}")
            self._reference = weakref.ref(holder, lambda _: self.release())
            _claims[self._key] = self

    @property
    def holder(self) -> object | None:
        return self._reference()

    def release(self) -> None:
        """Let others claim the resource. Does nothing the second time."""
        with _lock:
            if _claims.get(self._key) is self:
                del _claims[self._key]

    @property
    def inherited(self) -> bool:
        """Whether this process is a fork of the one that made the claim."""
        return os.getpid() != self._process

    def check_process(self) -> None:
        """Raise `DriverError` in a fork: what the driver knows of the device would be wrong in one of the two."""
        if self.inherited:
            raise DriverError(f"the device was opened by process {self._process} and cannot be used in its fork "
                              f"{os.getpid()}; open a device, and make a Driver or Session, in each process")


_claims: dict[int, Claim] = {}  # by the identity of the resource


def holder_of(resource: object) -> object | None:
    """The holder of the claim on a resource; None without one."""
    with _lock:
        claim = _claims.get(id(resource))
        return claim.holder if claim is not None else None


def _name(resource: object) -> str:
    return "client of the controller" if type(resource).__name__ == "Client" else "device"
