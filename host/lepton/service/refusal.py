"""A request that is not granted."""

from .identity import Identity


class RequestRefused(Exception):
    """A request that is not granted; becomes its answer and a row of the audit table.

    `reason` is a word that a program can act on, `detail` a sentence for a person, `members` are
    further members of the answer. `identity` is whom the audit names when the request was refused for who sent it.
    """

    def __init__(self, status: int, reason: str, detail: str, *, identity: Identity | None = None, **members):
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.identity = identity
        self.members = members
