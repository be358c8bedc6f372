"""A refused request, and who is told of it."""

from typing import Protocol

from .identity import Identity


class RequestRefused(Exception):
    """A refused request; becomes the answer and a row of the audit table.

    `reason` is a word for programs, `detail` a sentence for people, `members` are further members of the answer.
    `identity` is the sender, for the audit, if the request was refused before it was identified otherwise.
    `retry_after` is the value of the header of this name, in seconds.
    """

    def __init__(self, status: int, reason: str, detail: str, *, identity: Identity | None = None,
                 retry_after: int | None = None, **members: object):
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.identity = identity
        self.retry_after = retry_after
        self.members = members


class RefusalReport(Protocol):
    """Called with what was requested, the refusal, and the client's address if it is known."""

    def __call__(self, request: str, refused: RequestRefused, address: str | None, /) -> None:
        ...
