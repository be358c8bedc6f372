"""The checks of every request before the application: sender and length; and the form of refusals."""

import asyncio
import logging
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..results.segment import MAX_OBJECT_BYTES
from .audit import Audit
from .enrolment import Enrolment, Peer
from .identity import Identity
from .peer import CERTIFICATE
from .refusal import RequestRefused

PEER = "peer"  # key in a request's state: a `Peer`, or None for an unidentified client
OPEN_PATHS = frozenset({"/v1/enrolment"})  # paths that need no certificate
MAX_BODY = 64 << 10  # bytes, of all requests except uploads: an enrolment has at most some 9 KiB
LARGE_BODIES = 8  # in memory at the same time, at most 8 x 64 MiB; further ones wait in their sockets
_RETRY = {"Retry-After": "5"}  # seconds

logger = logging.getLogger("lepton.service")


@dataclass(frozen=True)
class Limits:
    """Largest upload in bytes; seconds in which the head and the body of a request must arrive."""

    segment_bytes: int = MAX_OBJECT_BYTES
    head_seconds: float = 15.0
    body_seconds: float = 60.0  # the largest segment then needs 9 Mbit/s; the usual one of 100 KB needs 13 kbit/s


class Gate:
    """ASGI middleware. A request is passed on with its peer in the state and its whole body, or it is refused."""

    def __init__(self, app: ASGIApp, enrolment: Enrolment, audit: Audit, limits: Limits):
        self._app = app
        self._enrolment = enrolment
        self._audit = audit
        self._limits = limits
        self._large = asyncio.Semaphore(LARGE_BODIES)
        # senders of large bodies, one body each, so that no sender takes all of `LARGE_BODIES`
        self._sending: set[Identity] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["state"][PEER] = None
        try:
            peer = await self._identify(scope)
            scope["state"][PEER] = peer
            length = self._length(scope)
            sender = peer.identity if peer and length > MAX_BODY else None
            if sender in self._sending:
                raise RequestRefused(429, "busy", f"{sender} is sending another segment; send one after the other")
        except RequestRefused as refused:
            answer = await refuse(self._audit, scope, refused)
            return await answer(scope, receive, send)
        except SQLAlchemyError as error:
            return await unavailable(error)(scope, receive, send)
        if sender is None:
            return await self._pass_on(scope, receive, send)
        self._sending.add(sender)
        try:
            async with self._large:
                await self._pass_on(scope, receive, send)
        finally:
            self._sending.remove(sender)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await _read(receive)
        except TimeoutError:
            answer = await refuse(self._audit, scope, RequestRefused(
                408, "slow", f"the body did not arrive within {self._limits.body_seconds:g} seconds"))
            return await answer(scope, receive, send)
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _identify(self, scope: Scope) -> Peer | None:
        """The sender; None for one without a certificate on an open path. Raises `RequestRefused`."""
        certificate = scope["state"].get(CERTIFICATE)
        if certificate:
            return await run_in_threadpool(self._enrolment.identify, certificate)
        if scope["path"] not in OPEN_PATHS:
            raise RequestRefused(401, "certificate_missing", "this request needs a client certificate; "
                                 "POST a one-time code to /v1/enrolment to get one")
        return None

    def _length(self, scope: Scope) -> int:
        """Content-Length of the body; uvicorn passes no further bytes. Raises `RequestRefused`."""
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            raise RequestRefused(411, "length_required", "a body needs a Content-Length; chunks are not supported")
        length = int(headers.get("content-length", "0"))  # uvicorn has checked that it is a number
        upload = scope["method"] == "PUT" and scope["state"][PEER] is not None
        limit = self._limits.segment_bytes if upload else MAX_BODY
        if length > limit:
            raise RequestRefused(413, "too_large", f"the body has {length} bytes; the limit is {limit}")
        return length


async def refuse(audit: Audit, scope: Scope, refused: RequestRefused) -> JSONResponse:
    """Record the refusal, then make its answer (RFC 9457)."""
    peer = scope["state"].get(PEER)
    client = scope.get("client")
    identity = peer.identity if peer else refused.identity
    request = f"{scope['method']} {scope['path']}"
    address = client and client[0]
    if identity is None:
        audit.put(request, refused, address)
    else:
        try:
            await run_in_threadpool(audit.write, request, refused, identity, address)
        except SQLAlchemyError as error:
            return unavailable(error)
    headers = _RETRY if refused.status == 429 else None
    return problem(refused.status, refused.reason, refused.detail, headers, **refused.members)


def unavailable(error: Exception) -> JSONResponse:
    """The answer while database or store fail. The reason is logged; the client does not get it."""
    logger.error("unavailable: %s", error)
    return problem(503, "unavailable", "the service cannot reach its database or store; try again later",
                   _RETRY)


def problem(status: int, reason: str, detail: str, headers: dict[str, str] | None = None, **members) -> JSONResponse:
    """A problem document (RFC 9457)."""
    return JSONResponse({"title": reason.replace("_", " "), "status": status, "reason": reason, "detail": detail}
                        | members, status_code=status, headers=headers, media_type="application/problem+json")


async def _read(receive: Receive) -> bytes | None:
    """The body; None if the client has disconnected."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` for a request whose body has been read already."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
