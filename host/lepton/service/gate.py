"""The checks of every request before the application: sender, rate and length; and the form of refusals."""

import contextlib
import logging
import math
import secrets
import time
from collections.abc import Callable

from obstore.exceptions import BaseError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..results import CloudError
from .arrived import Arrived
from .audit import Audit
from .bodies import LARGE_BYTES, Incoming, RequestBody
from .enrolment import Enrolment, Peer
from .forwarded import forwarded
from .limits import Buckets, Limits
from .metrics import Metrics
from .partials import Partials
from .peer import ADMISSION, CERTIFICATE, Admission
from .refusal import RequestRefused
from .turns import Pools, Turns
from .uploads import UPLOADS, Uploads

PEER = "peer"  # key in a request's state: a `Peer`, or None for an unidentified client
REQUEST_ID = "request_id"  # key in a request's state; also in the answer's header and in the log
OPEN_PATHS = frozenset({"/v1/enrolment", "/v1/renewal"})  # paths that need no certificate
QUERY_PATHS = frozenset({"/v1/results", "/v1/heads", "/v1/devices", "/v1/refusals"})  # what readers ask the index
MAX_BODY = 64 << 10  # bytes, of all requests except uploads: an enrolment has at most some 9 KiB
RETRY_SECONDS = 5

logger = logging.getLogger("lepton.service")


class Gate:
    """ASGI middleware. A request is passed on with its peer in the state and its whole body, or it is refused."""

    def __init__(self, app: ASGIApp, enrolment: Enrolment, audit: Audit, limits: Limits, metrics: Metrics,
                 uploads: Uploads, partials: Partials, pools: Callable[[], Pools], proxies: frozenset[str]):
        self._app = app
        self._proxies = proxies
        self._enrolment = enrolment
        self._audit = audit
        self._limits = limits
        self._metrics = metrics
        self._uploads = uploads
        self._partials = partials
        self._pools = pools
        self._incoming = Incoming(limits)
        self._turns = Turns(limits.requests)
        self._large = Turns(limits.large_requests)
        self._devices = Buckets(limits.device_rate), Buckets(limits.tenant_rate)
        self._queries = Buckets(limits.reader_rate), Buckets(limits.tenant_reader_rate)
        self._objects = Buckets(limits.object_rate), Buckets(limits.tenant_object_rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        scope["state"][PEER] = None
        if self._proxies:
            forwarded(scope)
        scope["state"][REQUEST_ID] = secrets.token_hex(8)
        begun = time.monotonic()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()),
                                      (b"x-request-id", scope["state"][REQUEST_ID].encode())]
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        finally:
            self._record(scope, status, time.monotonic() - begun)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = RequestBody(self._limits)
        try:
            path = self._uploads.path_of(scope)
            peer = self._remembered(scope) if path else None
            unchecked = scope["state"].get(CERTIFICATE) if peer else None
            if peer is None:
                peer = await self._identify(scope)
            scope["state"][PEER] = peer
            self._check_rate(peer, scope["path"])
            length = self._length(scope)
            sender = peer.identity if peer else None
            arrived = Arrived(self._partials, sender, path.key if path else None, body)
            await arrived.begin(scope, self._limits.segment_bytes - length)
            with self._incoming.announced(sender, length):
                if not await arrived.read(receive):
                    return
            group = sender.tenant if sender else ""
            async with self._large.turn(group) if length > LARGE_BYTES else contextlib.nullcontext(), \
                    self._turns.turn(group):
                whole = await arrived.take()
                if path and sender and self._uploads.is_direct(scope):
                    answer = await self._uploads.direct(sender, path, whole, unchecked)
                else:
                    return await self._app(scope, _replay(whole, receive), send)
            await answer(scope, receive, send)
        except RequestRefused as refused:
            self._metrics.refusal(refused.reason)
            refusal = await refuse(self._audit, scope, refused)
            await refusal(scope, receive, send)
        except (SQLAlchemyError, BaseError, CloudError, OSError) as error:
            await unavailable(error)(scope, receive, send)
        finally:
            body.drop()

    def _remembered(self, scope: Scope) -> Peer | None:
        """The sender of an upload, if its certificate was valid before; `Uploads.direct` checks it again."""
        certificate = scope["state"].get(CERTIFICATE)
        return self._enrolment.remembered(certificate) if certificate and self._uploads.is_direct(scope) else None

    async def _identify(self, scope: Scope) -> Peer | None:
        """The sender; None for one without a certificate on an open path. Raises `RequestRefused`."""
        certificate = scope["state"].get(CERTIFICATE)
        if certificate:
            return await self._pools().index.run(self._enrolment.identify, certificate)
        admission: Admission | None = scope["state"].get(ADMISSION)
        client = scope.get("client")
        if admission and client and (seconds := admission.erring(client[0])):
            raise too_many(f"{client[0]} has been refused too often", seconds)
        if scope["path"] not in OPEN_PATHS:
            raise RequestRefused(401, "certificate_missing", "this request needs a client certificate; "
                                 "POST a one-time code to /v1/enrolment to get one")
        return None

    def _check_rate(self, peer: Peer | None, path: str) -> None:
        """Raises `RequestRefused` if the sender, or its tenant, sends too many requests."""
        if peer is None:
            return
        identity = peer.identity
        own, tenants = self._devices if identity.role == "device" else (
            self._queries if path in QUERY_PATHS else self._objects)
        for bucket, key, who in ((own, identity, str(identity)),
                                 (tenants, identity.tenant, f"tenant {identity.tenant}")):
            if seconds := bucket.take(key):
                raise too_many(f"{who} sends too many requests", seconds)

    def _length(self, scope: Scope) -> int:
        """Content-Length of the body; uvicorn passes no further bytes. Raises `RequestRefused`."""
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            raise RequestRefused(411, "length_required", "a body needs a Content-Length; chunks are not supported")
        length = int(headers.get("content-length", "0"))  # uvicorn has checked that it is a number
        upload = scope["method"] in UPLOADS and scope["state"][PEER] is not None
        limit = self._limits.segment_bytes if upload else MAX_BODY
        if length > limit:
            raise RequestRefused(413, "too_large", f"the body has {length} bytes; the limit is {limit}")
        return length

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        peer: Peer | None = scope["state"][PEER]
        client = scope.get("client")
        self._metrics.request(scope["method"], scope["path"], status, seconds)
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.info("%s %s: %d", scope["method"], scope["path"], status, extra={
            "request_id": scope["state"][REQUEST_ID], "status": status, "milliseconds": round(1000 * seconds, 1),
            "client": str(peer.identity) if peer else None, "address": client[0] if client else None})


def too_many(detail: str, seconds: float) -> RequestRefused:
    """The refusal of a request that may be repeated after `seconds`."""
    seconds = max(1, math.ceil(seconds))
    return RequestRefused(429, "rate", f"{detail}; try again in {seconds} s", retry_after=seconds)


async def refuse(audit: Audit, scope: Scope, refused: RequestRefused) -> JSONResponse:
    """Record the refusal, then make its answer (RFC 9457)."""
    peer = scope["state"].get(PEER)
    client = scope.get("client")
    identity = peer.identity if peer else refused.identity
    request = f"{scope['method']} {scope['path']}"
    address = client and client[0]
    admission: Admission | None = scope["state"].get(ADMISSION)
    headers = {}
    if identity is None:
        if admission and address and refused.status != 429:
            admission.mistake(address)
        if refused.status == 429:
            headers["Connection"] = "close"
        else:
            audit.put(request, refused, address)
    elif refused.reason == "rate":
        audit.put(request, refused, address, identity)  # a flood of requests must not wait for as many commits
    else:
        try:
            await run_in_threadpool(audit.write, request, refused, identity, address)
        except SQLAlchemyError as error:
            return unavailable(error)
    if refused.status in (429, 507):
        headers["Retry-After"] = str(refused.retry_after or RETRY_SECONDS)
    return problem(refused.status, refused.reason, refused.detail, headers, **refused.members)


def unavailable(error: Exception) -> JSONResponse:
    """The answer while database or store fail. The reason is logged; the client does not get it."""
    logger.error("unavailable: %s", error)
    return problem(503, "unavailable", "the service cannot reach its database or store; try again later",
                   {"Retry-After": str(RETRY_SECONDS)})


def problem(status: int, reason: str, detail: str, headers: dict[str, str] | None = None, **members: object
            ) -> JSONResponse:
    """A problem document (RFC 9457)."""
    return JSONResponse({"title": reason.replace("_", " "), "status": status, "reason": reason, "detail": detail}
                        | members, status_code=status, headers=headers, media_type="application/problem+json")


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` for a request whose body has been read already."""
    done = False

    async def replay() -> Message:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
