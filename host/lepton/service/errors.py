"""What can go wrong in the service: for its operator, and for a request."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .identity import Identity


class ServiceError(RuntimeError):
    """The service cannot be set up or used as its operator asks."""


class Refused(Exception):
    """A request that is not granted; becomes its answer and a row of the audit table.

    `reason` is a word that a program can act on, `detail` a sentence for a person, `members` are
    further members of the answer. `identity` is whom the audit names when the request was refused for who sent it.
    """

    def __init__(self, status: int, reason: str, detail: str, *, identity: "Identity | None" = None, **members):
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.identity, self.members = identity, members
