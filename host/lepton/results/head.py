"""The signed head of a spool: what a store was given of it. Whoever verifies the store notices if something is missing.

A spool has a *ledger* of each target: which segments it has confirmed there, in the same transaction. The uploader
stores the ledger as an object next to the segments, in an envelope with the device's signature (`envelope.sign`), and
replaces it whenever it has grown:

    heads/tenant=<tenant>/device=<device>/<spool>.cose

Next to it may be a record of what a service has deleted by its rules of retention (`expiry`), in the same form, signed
for the device with a key that the service's authority vouches for:

    heads/tenant=<tenant>/device=<device>/<spool>-expired.cose

A store that is set back as a whole, heads included, to an earlier state is not noticed by the head alone:
`verify(known=...)` compares with what was seen before.
"""

import itertools
import json
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from . import envelope
from .errors import SegmentError, UnknownSignerError
from .keyring import Keyring
from .keys import DeviceKeys
from .segment import SUFFIX, check_name

FORMAT = "lepton-head/1"
CONTENT_TYPE = "application/vnd.lepton.head"
EXPIRY_TYPE = "application/vnd.lepton.expiry"
EXPIRED = "-expired"  # in the key of a record of deleted segments
ROOT = "heads"
MAX_RANGES = 1000  # some 16 KB; of a spool with more gaps the oldest ranges are forgotten
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_KEY = re.compile(rf"{ROOT}/tenant=(?P<tenant>{_NAME})/device=(?P<device>{_NAME})/(?P<spool>[0-9a-f]{{32}})"
                  rf"(?:{EXPIRED})?\.cose")


@dataclass
class Ledger:
    """The segments that a target has confirmed. `ranges`: first and last sequence numbers, ascending."""

    ranges: list[list[int]] = field(default_factory=list)
    segments: int = 0
    records: int = 0
    digest: str = ""  # of the segment with the highest number, which names the one before, and so on

    def add(self, sequence: int, records: int, digest: str) -> None:
        """A segment was confirmed. Adding it again changes nothing."""
        if any(first <= sequence <= last for first, last in reversed(self.ranges)):
            return
        if not self.ranges or sequence > self.ranges[-1][1]:
            self.digest = digest
        self.ranges.append([sequence, sequence])
        self.ranges.sort()
        joined: list[list[int]] = []
        for first, last in self.ranges:
            if joined and first == joined[-1][1] + 1:
                joined[-1][1] = last
            else:
                joined.append([first, last])
        self.ranges = joined[-MAX_RANGES:]
        self.segments += 1
        self.records += records

    def pack(self) -> tuple[str, int]:
        """The row's columns: text and checksum."""
        body = json.dumps(vars(self), separators=(",", ":"))
        return body, zlib.crc32(body.encode())

    @classmethod
    def unpack(cls, body: object, checksum: object) -> "Ledger | None":
        """The ledger of a row's columns; None if they are damaged."""
        if not isinstance(body, str) or zlib.crc32(body.encode()) != checksum:
            return None
        return cls(**json.loads(body))


@dataclass(frozen=True)
class Head:
    """A ledger that a device has signed at `time_ms`, by its clock."""

    format: str
    tenant: str
    device: str
    spool: str
    time_ms: int
    ranges: list[list[int]]
    segments: int
    records: int
    digest: str

    @property
    def last(self) -> int:
        """The highest sequence number."""
        return self.ranges[-1][1]

    @property
    def place(self) -> tuple[str, str, str]:
        """Tenant, device and spool."""
        return self.tenant, self.device, self.spool


@dataclass(frozen=True)
class SignedHead:
    """A head with a signature that `check` has not verified yet."""

    key: str
    head: Head
    envelope: envelope.Envelope

    def check(self, keyring: Keyring) -> None:
        """Raise `SegmentError` unless a key that is trusted for the device has signed the head."""
        signer = self.envelope.signer
        try:
            self.envelope.check()
        except SegmentError as error:
            raise SegmentError(f"head {self.key} is forged: {error}") from error
        if not keyring.trusts(signer, self.head.tenant, self.head.device, self.envelope.certificate):
            raise UnknownSignerError(f"head {self.key} is signed by the key {signer}, which is not trusted", signer)


def seal(keys: DeviceKeys, ledger: Ledger, *, tenant: str, device: str, spool: str, expired: bool = False
         ) -> tuple[str, bytes]:
    """Key and bytes of the head of a ledger with at least one segment; or, with `expired`, of the record of a ledger of
    deleted segments."""
    head = Head(FORMAT, tenant, device, spool, time.time_ns() // 1_000_000, ledger.ranges, ledger.segments,
                ledger.records, ledger.digest)
    return (key_of(tenant, device, spool, expired=expired),
            envelope.sign(keys, asdict(head), EXPIRY_TYPE if expired else CONTENT_TYPE, b""))


def parse(data: bytes, key: str) -> SignedHead:
    """A head from its bytes. Structure and key are checked, the signature is not. Raises `SegmentError`."""
    tenant, device, spool = split_key(key)
    try:
        found = envelope.parse(data)
        expected = EXPIRY_TYPE if is_expiry(key) else CONTENT_TYPE
        if found.content_type != expected:
            raise SegmentError(f"it has the content type {found.content_type!r}, not {expected}")
        head = Head(**found.header)
        _check(head)
    except (SegmentError, TypeError) as error:
        raise SegmentError(f"head {key} cannot be read: {error}") from error
    if head.place != (tenant, device, spool):
        raise SegmentError(f"head {key} is that of {key_of(*head.place)}")
    return SignedHead(key, head, found)


def key_of(tenant: str, device: str, spool: str, *, expired: bool = False) -> str:
    return f"{ROOT}/tenant={tenant}/device={device}/{spool}{EXPIRED if expired else ''}{SUFFIX}"


def is_expiry(key: str) -> bool:
    """Whether the key of a head is that of a record of deleted segments."""
    return key.endswith(EXPIRED + SUFFIX)


def split_key(key: str) -> tuple[str, str, str]:
    """Tenant, device and spool of a head's key. Raises `SegmentError`."""
    match = _KEY.fullmatch(key)
    if not match:
        raise SegmentError(f"{key!r} is not the key of a head, {ROOT}/tenant=<tenant>/device=<device>/<spool>{SUFFIX}")
    return match["tenant"], match["device"], match["spool"]


def _check(head: Head) -> None:
    """Types and ranges of every field. Raises `SegmentError`."""
    if head.format != FORMAT:
        raise SegmentError(f"it has the format {head.format!r}; this version reads {FORMAT!r}")
    check_name(head.tenant, "tenant")
    check_name(head.device)
    if not all(type(value) is int and 0 <= value < 1 << 62 for value in (head.time_ms, head.segments, head.records)) \
            or not isinstance(head.digest, str) or not isinstance(head.spool, str):
        raise SegmentError("its counts must be integers of at least 0, its digest and spool strings")
    if not _ascending(head.ranges):
        raise SegmentError("its ranges of sequence numbers must ascend")


def _ascending(ranges: Any) -> bool:
    if not isinstance(ranges, list) or not 0 < len(ranges) <= MAX_RANGES:
        return False
    flat: Sequence[int] = [number for pair in ranges if isinstance(pair, list) and len(pair) == 2 for number in pair]
    return (len(flat) == 2 * len(ranges) and all(type(number) is int and number >= 0 for number in flat)
            and all(first <= last for first, last in ranges)
            and all(after[0] > before[1] for before, after in itertools.pairwise(ranges)))
