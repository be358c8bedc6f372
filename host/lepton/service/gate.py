"""What every request passes before the application: who sends it, how long it may be, what a refusal looks like."""

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
from .enrolment import Enrolment
from .identity import Identity
from .peer import CERTIFICATE
from .refusal import RequestRefused

PEER = "peer"  # in the state of a request: `Peer`, or None for a stranger
OPEN_PATHS = frozenset({"/v1/enrolment"})  # all others need a certificate
MAX_BODY = 64 << 10  # of all requests but uploads
LARGE_BODIES = 8  # in memory at once; further ones wait in their sockets
_RETRY = {"Retry-After": "5"}

logger = logging.getLogger("lepton.service")


@dataclass(frozen=True)
class Limits:
    """Bytes of an upload, and seconds in which the head and the body of a request must have arrived."""

    segment_bytes: int = MAX_OBJECT_BYTES
    head_seconds: float = 15.0
    body_seconds: float = 60.0


class Gate:
    """ASGI middleware. A request is let in with its peer in the state and its whole body read, or is refused."""

    def __init__(self, app: ASGIApp, enrolment: Enrolment, audit: Audit, limits: Limits):
        self._app, self._enrolment, self._audit, self._limits = app, enrolment, audit, limits
        self._large = asyncio.Semaphore(LARGE_BODIES)
        self._sending: set[Identity] = set()  # who sends a large body: one of each, so that none takes all the room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["state"][PEER] = None
        try:
            scope["state"][PEER] = peer = await self._identify(scope)
            length = self._length(scope)
            if length > MAX_BODY and peer.identity in self._sending:
                raise RequestRefused(429, "busy",
                                     f"{peer.identity} is sending another segment; send one after the other")
        except RequestRefused as refused:
            answer = await refuse(self._audit, scope, refused)
            return await answer(scope, receive, send)
        except SQLAlchemyError as error:
            return await unavailable(error)(scope, receive, send)
        if length <= MAX_BODY:
            return await self._enter(scope, receive, send)
        self._sending.add(peer.identity)
        try:
            async with self._large:
                await self._enter(scope, receive, send)
        finally:
            self._sending.remove(peer.identity)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await _read(receive)
        except TimeoutError:
            answer = await refuse(self._audit, scope, RequestRefused(
                408, "slow", f"the body did not arrive within {self._limits.body_seconds:g} seconds"))
            return await answer(scope, receive, send)
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _identify(self, scope: Scope):
        certificate = scope["state"].get(CERTIFICATE)
        if certificate:
            return await run_in_threadpool(self._enrolment.identify, certificate)
        if scope["path"] not in OPEN_PATHS:
            raise RequestRefused(401, "certificate_missing", "this request needs a client certificate; "
                                 "POST a one-time code to /v1/enrolment to get one")
        return None

    def _length(self, scope: Scope) -> int:
        """The bytes of the body as announced; uvicorn lets no more through than that."""
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            raise RequestRefused(411, "length_required", "a body needs a Content-Length, chunks are not read")
        length = int(headers.get("content-length", "0"))  # uvicorn has checked that it is a number
        upload = scope["method"] == "PUT" and scope["state"][PEER] is not None
        limit = self._limits.segment_bytes if upload else MAX_BODY
        if length > limit:
            raise RequestRefused(413, "too_large", f"the body has {length} bytes, at most {limit} are taken")
        return length


async def refuse(audit: Audit, scope: Scope, refused: RequestRefused) -> JSONResponse:
    """Write the refusal down, then make its answer (RFC 9457)."""
    peer, client = scope["state"].get(PEER), scope.get("client")
    identity = peer.identity if peer else refused.identity
    request, address = f"{scope['method']} {scope['path']}", client and client[0]
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
    """The answer while database or store fail; the log has the reason, which is none of the peer's business."""
    logger.error("unavailable: %s", error)
    return problem(503, "unavailable", "the service cannot reach its database or store; try again later",
                   _RETRY)


def problem(status: int, reason: str, detail: str, headers: dict[str, str] | None = None, **members) -> JSONResponse:
    return JSONResponse({"title": reason.replace("_", " "), "status": status, "reason": reason, "detail": detail}
                        | members, status_code=status, headers=headers, media_type="application/problem+json")


async def _read(receive: Receive) -> bytes | None:
    """The body; None if the peer has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body has been read."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
