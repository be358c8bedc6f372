"""The endpoints. The signature shows who may use each: a `Device`, a reader (`View`), either (`AnyPeer`), or anyone."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel

from ..results import StoreError
from . import messages
from .authority import Authority
from .enrolment import Issued, Peer
from .gate import PEER
from .identity import NAME, Identity
from .refusal import RequestRefused
from .tenant import TenantView
from .turns import Pools
from .uploads import SegmentUpload, Uploads


async def _peer(request: Request) -> Peer:
    return getattr(request.state, PEER)  # the gate requires a certificate on all paths that use this


async def _device(request: Request) -> Identity:
    identity = getattr(request.state, PEER).identity
    if identity.role != "device":
        raise RequestRefused(403, "not_yours", "only a device may do this; the certificate is that of a reader")
    return identity


async def _view(request: Request) -> TenantView:
    identity = getattr(request.state, PEER).identity
    if identity.role != "reader":
        raise RequestRefused(403, "not_yours", "only a reader may do this; the certificate is that of a device")
    return TenantView(request.app.state.database, identity.tenant)


SPOOL = "[0-9a-f]{32}"

AnyPeer = Annotated[Peer, Depends(_peer)]
Device = Annotated[Identity, Depends(_device)]
View = Annotated[TenantView, Depends(_view)]
DeviceName = Annotated[str, Path(pattern=f"^{NAME}$")]
TenantName = Annotated[str, Path(pattern=f"^{NAME}$")]
Date = Annotated[str, Path(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="of the first record, in UTC")]
SegmentName = Annotated[str, Path(pattern=r"^[0-9a-f]{32}-[0-9]{12}-[0-9a-f]{64}\.cose$",
                                  description="`<spool>-<sequence>-<sha256>.cose`")]
StoredHeadName = Annotated[str, Path(pattern=r"^[0-9a-f]{32}(-expired)?\.cose$",
                                     description="`<spool>.cose`, or `<spool>-expired.cose`")]
HeadName = Annotated[str, Path(pattern=r"^[0-9a-f]{32}\.cose$", description="`<spool>.cose`")]
Spool = Annotated[str, Query(pattern=f"^{SPOOL}$", description="the spool's identity, as in its segments' headers")]
Limit = Annotated[int, Query(ge=1, le=messages.MAX_PAGE)]
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_PARTIAL = {"application/partial-upload": {"schema": {"type": "string", "format": "binary"}}}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def refusals(*statuses: int) -> dict:
    """Responses of an OpenAPI operation: those of every operation, and `statuses`."""
    meanings = {400: "malformed", 401: "no valid certificate", 403: "not permitted", 404: "not found",
                408: "too slow", 409: "out of order, or another segment has the number", 411: "no length",
                413: "too large", 422: "invalid", 429: "too many requests", 503: "database or store cannot be reached",
                507: "the tenant's quota is used up"}
    return {status: {"description": meanings[status], "content": _PROBLEM}
            for status in sorted({400, 401, 403, 408, 411, 413, 422, 429, 503} | set(statuses))}


router = APIRouter(prefix="/v1", responses=refusals())


@router.post("/enrolment", status_code=201, openapi_extra={"security": []})
def enrol(body: messages.EnrolmentRequest, request: Request) -> messages.Certificate:
    """Get a certificate with a one-time code."""
    service = request.app.state
    return _certificate(service.authority, service.enrolment.enrol(
        body.code, body.request, body.signing_key, body.signing_proof))


@router.post("/certificate", status_code=201)
def rotate(body: messages.RotationRequest, request: Request, peer: AnyPeer) -> messages.Certificate:
    """Get a certificate for a new key; the present one stays valid until it expires.

    With a signing key it is registered too, besides the earlier ones.
    """
    service = request.app.state
    return _certificate(service.authority, service.enrolment.rotate(peer, body.request, body.signing_key,
                                                                    body.signing_proof))


@router.post("/renewal", status_code=201, openapi_extra={"security": []})
def renew(body: messages.RenewalRequest, request: Request) -> messages.Certificate:
    """Get a certificate with the key of one that has expired, at most 180 days ago."""
    service = request.app.state
    return _certificate(service.authority, service.enrolment.renew(body.certificate, body.request, body.proof))


@router.get("/position")
async def position(request: Request, device: Device, spool: Spool) -> messages.SpoolPosition:
    """The next segment that the service expects of a spool of the device."""
    view = TenantView(request.app.state.database, device.tenant)
    expected = await _pools(request).index.run(view.expected, device.name, spool)
    return messages.SpoolPosition(device=device.name, spool=spool, expected=expected)


SEGMENT_PATH = "/results/tenant={tenant}/device={device}/date={date}/{name}"
HEAD_PATH = "/heads/tenant={tenant}/device={device}/{name}"


@router.put(SEGMENT_PATH, status_code=201, response_model=messages.Stored, responses={
    200: {"model": messages.Stored, "description": "It was stored already"}, **refusals(409, 507)},
    openapi_extra={"requestBody": {"required": True, "content": _BYTES}})
async def upload(request: Request, tenant: TenantName, device: DeviceName, date: Date,
                 name: SegmentName, sender: Device,
                 lost_from: Annotated[int | None, Header(
                     alias="Lepton-Lost-From", ge=0, le=messages.MAX_SEQUENCE,
                     description="the segments from this number up to the one sent are lost")] = None
                 ) -> Response:
    """Store a segment under its key. After an answer of 200 or 201 it is durable; sending it again is safe."""
    _check_sender(sender, tenant, device)
    key = f"results/tenant={tenant}/device={device}/date={date}/{name}"
    uploads: Uploads = request.app.state.uploads
    return await uploads.store(SegmentUpload(sender, key, await request.body(), lost_from))


@router.patch(SEGMENT_PATH, status_code=201, response_model=messages.Stored, responses={
    200: {"model": messages.Stored, "description": "It was stored already"}, **refusals(409, 507)},
    openapi_extra={"requestBody": {"required": True, "content": _PARTIAL}})
async def resume(request: Request, tenant: TenantName, device: DeviceName, date: Date, name: SegmentName,
                 sender: Device, upload_offset: Annotated[int, Header(
                     ge=0, description="bytes of the body that the service has already, by HEAD")],
                 lost_from: Annotated[int | None, Header(
                     alias="Lepton-Lost-From", ge=0, le=messages.MAX_SEQUENCE)] = None) -> Response:
    """Send the rest of a segment whose upload broke off; the answer is that of the upload."""
    return await upload(request, tenant, device, date, name, sender, lost_from)  # the gate has put the parts together


@router.head(SEGMENT_PATH, status_code=204, response_class=Response)
async def offset(request: Request, tenant: TenantName, device: DeviceName, date: Date, name: SegmentName,
                 sender: Device) -> Response:
    """How many bytes of a segment have arrived, in the header `Upload-Offset`."""
    _check_sender(sender, tenant, device)
    key = f"results/tenant={tenant}/device={device}/date={date}/{name}"
    size = await _pools(request).index.run(request.app.state.partials.size, sender, key)
    return Response(status_code=204, headers={"Upload-Offset": str(size), "Upload-Complete": "?0",
                                              "Cache-Control": "no-store"})


@router.get("/results", response_model=messages.SegmentPage)
async def list_segments(request: Request, view: View, device: Annotated[str | None, Query(pattern=f"^{NAME}$")] = None,
                  model: Annotated[str | None, Query(pattern="^[ -~]{1,256}$")] = None,
                  since: AwareDatetime | None = None, until: AwareDatetime | None = None,
                  after: Annotated[str | None, Query(pattern=f"^{NAME}:{SPOOL}:[0-9]{{1,12}}$")] = None,
                  limit: Limit = 100) -> Response:
    """The tenant's segments; optionally of one device, of one model (by its hash), or with records in a period."""
    query = partial(view.segments, device=device, model=model, since=_seconds(since), until=_seconds(until),
                    after=_cursor(after), limit=limit + 1)
    def page() -> bytes:
        rows = query()
        return messages.segment_page(rows[:limit], _after(rows[limit - 1]) if len(rows) > limit else None)

    return await _page(request, page)


@router.get(SEGMENT_PATH, response_class=Response, responses={
    200: {"content": _BYTES, "description": "The segment as the device sent it"}, **refusals(404)})
async def download(request: Request, view: View, tenant: TenantName, device: DeviceName, date: Date, name: SegmentName
             ) -> Response:
    """The bytes of a segment."""
    spool, sequence, digest = name.removesuffix(".cose").split("-")
    key = f"results/tenant={tenant}/device={device}/date={date}/{name}"
    pools = _pools(request)
    if tenant != view.tenant or not await pools.readers.run(view.holds, device, spool, int(sequence), digest):
        raise RequestRefused(404, "not_found", f"there is no segment {key}")
    body = await pools.get.run(request.app.state.ingest.read, view.tenant, key)
    return Response(body, media_type="application/octet-stream")


@router.put(HEAD_PATH, status_code=200, openapi_extra={"requestBody": {"required": True, "content": _BYTES}})
async def put_head(request: Request, tenant: TenantName, device: DeviceName, name: HeadName, sender: Device
                   ) -> messages.StoredHead:
    """Store the signed head of a spool, or replace it. After the answer it is durable."""
    _check_sender(sender, tenant, device)
    key = f"heads/tenant={tenant}/device={device}/{name}"
    await _pools(request).put.run(request.app.state.ingest.accept_head, sender, key, await request.body())
    return messages.StoredHead(key=key)


@router.get("/heads")
async def list_heads(request: Request, view: View, after: Annotated[str | None, Query(max_length=256)] = None,
               limit: Limit = 100) -> messages.HeadPage:
    """Keys of the signed heads of the tenant's spools, in order."""
    pools = _pools(request)
    if not await pools.readers.run(partial(view.segments, limit=1)):  # the tenant's store is made with its first one
        return messages.HeadPage(heads=[], next=None)
    found = await pools.get.run(request.app.state.ingest.heads, view.tenant)
    keys = [key for key in found if after is None or key > after][:limit + 1]
    return messages.HeadPage(heads=keys[:limit], next=keys[limit - 1] if len(keys) > limit else None)


@router.get(HEAD_PATH, response_class=Response, responses={
    200: {"content": _BYTES, "description": "The head as the device sent it"}, **refusals(404)})
async def get_head(request: Request, view: View, tenant: TenantName, device: DeviceName, name: StoredHeadName
                   ) -> Response:
    """The bytes of a head, or of the record of a spool's segments that were deleted by age."""
    key = f"heads/tenant={tenant}/device={device}/{name}"
    if tenant != view.tenant:
        raise RequestRefused(404, "not_found", f"there is no head {key}")
    try:
        body = await _pools(request).get.run(request.app.state.ingest.read, view.tenant, key)
    except StoreError as error:
        raise RequestRefused(404, "not_found", f"there is no head {key}") from error
    return Response(body, media_type="application/octet-stream")


@router.get("/devices", response_model=messages.DevicePage)
async def list_devices(request: Request, view: View, after: Annotated[str | None, Query(pattern=f"^{NAME}$")] = None,
                 limit: Limit = 100) -> Response:
    """The tenant's devices, and the totals of their segments."""
    def page() -> bytes:
        rows = view.devices(after=after, limit=limit + 1)
        found = [messages.DeviceRow(**row) for row in rows[:limit]]
        return _json(messages.DevicePage(devices=found, next=found[-1].device if len(rows) > limit else None))

    return await _page(request, page)


@router.get("/refusals", response_model=messages.RefusalPage)
async def list_refusals(request: Request, view: View, before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
                  limit: Limit = 100) -> Response:
    """Refused requests of the tenant's devices and readers, the newest first."""
    def page() -> bytes:
        rows = view.refusals(before=before, limit=limit + 1)
        found = [messages.RefusalRow(**row) for row in rows[:limit]]
        return _json(messages.RefusalPage(refusals=found, next=found[-1].id if len(rows) > limit else None))

    return await _page(request, page)


async def _page(request: Request, page: Callable[[], bytes]) -> Response:
    """A page that a thread for readers makes, JSON included, so that the event loop does not wait for it."""
    return Response(await _pools(request).readers.run(page), media_type="application/json")


def _json(page: BaseModel) -> bytes:
    return page.model_dump_json().encode()


def _pools(request: Request) -> Pools:
    state = request.app.state
    if state.pools is None:
        raise RuntimeError("the service has no threads before its start")
    return state.pools


def _check_sender(sender: Identity, tenant: str, device: str) -> None:
    if (tenant, device) != (sender.tenant, sender.name):
        raise RequestRefused(403, "not_yours", f"the certificate is that of device {sender.name} of tenant "
                             f"{sender.tenant}, not of {device} of {tenant}")


def _certificate(authority: Authority, issued: Issued) -> messages.Certificate:
    identity = issued.identity
    return messages.Certificate(
        certificate=issued.pem, authority=authority.root_pem, tenant=identity.tenant, name=identity.name,
        role=identity.role, expires=issued.certificate.not_valid_after_utc, signing_certificate=issued.signing_pem)


def _after(row: Mapping[str, object]) -> str:
    return f"{row['device']}:{row['spool']}:{row['sequence']}"


def _cursor(after: str | None) -> tuple[str, str, int] | None:
    """The inverse of `_after`."""
    if after is None:
        return None
    device, spool, sequence = after.split(":")
    return device, spool, int(sequence)


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
