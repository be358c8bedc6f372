"""The bodies of requests and answers, as in the OpenAPI document."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .identity import Role

MAX_SEQUENCE = 10**12 - 1  # twelve digits in a segment's key
MAX_PAGE = 1000  # rows: some 500 KB of JSON


def _from_seconds(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, float) else value


Time = Annotated[datetime, BeforeValidator(_from_seconds)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EnrolmentRequest(_Strict):
    """A one-time code, and the keys to be registered with it."""

    code: str = Field(min_length=1, max_length=128)
    request: str = Field(max_length=8192, description="PKCS#10 in PEM, signed by the key for TLS (P-256 or Ed25519)")
    signing_key: str | None = Field(None, max_length=64, description="devices: Ed25519 public key in base64")
    signing_proof: str | None = Field(None, max_length=128, description="devices: signature by that key in base64, "
                                      "over `lepton-enrolment/1`, a zero byte and the request in DER")


class RotationRequest(_Strict):
    """The next key for TLS, and optionally the next key for segments."""

    request: str = Field(max_length=8192, description="PKCS#10 in PEM, signed by the new key for TLS")
    signing_key: str | None = Field(None, max_length=64, description="as for enrolment, if it is to be replaced")
    signing_proof: str | None = Field(None, max_length=128, description="as for enrolment")


class RenewalRequest(_Strict):
    """The certificate that has expired, and the next key for TLS."""

    certificate: str = Field(max_length=8192, description="the present certificate in PEM")
    request: str = Field(max_length=8192, description="PKCS#10 in PEM, signed by the new key for TLS")
    proof: str = Field(max_length=256, description="signature by the present certificate's key in base64, over "
                       "`lepton-renewal/1`, a zero byte and the request in DER (ECDSA with SHA-256, or Ed25519)")


class Certificate(BaseModel):
    """A certificate that the service has issued."""

    certificate: str = Field(description="PEM")
    authority: str = Field(description="PEM of the certificate that signed it and the service's own certificate")
    tenant: str
    name: str
    role: Role
    expires: Time
    signing_certificate: str | None = Field(None, description="PEM of a certificate of the signing key, if one was "
                                            "sent; with it the authority alone suffices to verify segments")


class SpoolPosition(BaseModel):
    """The next segment that the service expects of a spool."""

    device: str
    spool: str
    expected: int | None = Field(description="sequence number of the next segment; null before the first one")


class Stored(BaseModel):
    """A segment that is durably stored."""

    device: str
    sequence: int
    digest: str
    expected: int = Field(description="sequence number of the next segment")


class SegmentRow(BaseModel):
    """A segment in the index."""

    key: str = Field(description="the segment's bytes are at this path under `/v1/`")
    device: str
    spool: str
    sequence: int
    digest: str
    bytes: int
    run: str = Field(description="empty for a segment that has only counters")
    first: int = Field(description="number of the first record in its run; numbers up to `last` may have gaps")
    last: int
    records: int
    model_hash: str = Field(description="hashes of model, program and configuration; empty if unknown")
    program_hash: str
    config_hash: str
    first_time: Time = Field(description="time of the first record, by the device's clock")
    last_time: Time
    received: Time = Field(description="time of arrival, by the service's clock")


class SegmentPage(BaseModel):
    """Segments in the order of device, spool and sequence number."""

    segments: list[SegmentRow]
    next: str | None = Field(description="`after` of the next page; null on the last")


def segment_page(rows: Sequence[Mapping[str, Any]], following: str | None) -> bytes:
    """JSON of a `SegmentPage` of rows of the index. They need no check, during which
    uploads wait for the interpreter."""
    times = ("first_time", "last_time", "received")
    segments = [{**row, **{name: _text(row[name]) for name in times}} for row in rows]
    return json.dumps({"segments": segments, "next": following}, separators=(",", ":")).encode()


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class StoredHead(BaseModel):
    """A stored head."""

    key: str


class HeadPage(BaseModel):
    """Keys of heads, in order; the bytes of each are at this path under `/v1/`."""

    heads: list[str]
    next: str | None


class DeviceRow(BaseModel):
    """A device and the totals of its segments."""

    device: str
    enrolled: Time
    last_received: Time | None
    spools: int
    segments: int
    records: int
    missing_segments: int = Field(description="segments that have not arrived, although later ones have")
    lost_records: int = Field(description="records that its full spools have rejected or dropped")


class DevicePage(BaseModel):
    """Devices by name."""

    devices: list[DeviceRow]
    next: str | None


class RefusalRow(BaseModel):
    """A refused request."""

    id: int
    time: Time
    role: str | None
    name: str | None
    address: str | None
    request: str
    status: int
    reason: str
    detail: str


class RefusalPage(BaseModel):
    """Refused requests, the newest first."""

    refusals: list[RefusalRow]
    next: int | None = Field(description="`before` of the next page; null on the last")


class Problem(BaseModel):
    """The reason for a refusal (RFC 9457)."""

    title: str
    status: int
    reason: str
    detail: str
    expected: int | None = Field(None, description="with `out_of_order`: sequence number of the expected segment")
