"""Segments: the objects that leave the device (docs/decisions/11-segments.md).

A segment is an envelope (`envelope`) with a body (`body`): up to a few thousand records of one run as a Parquet file,
encrypted for the recipients and signed by the device. Its key in a store is

    results/tenant=<tenant>/device=<device>/date=<date>/<spool>-<sequence>-<SHA-256 of all its bytes>.cose

so storing it twice makes one object. Structure, digest and signature can be checked without a secret key.
"""

import contextlib
import datetime
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from . import envelope
from .errors import SegmentError, UnknownSignerError
from .keyring import Keyring
from .keys import DeviceKeys

if TYPE_CHECKING:
    import pyarrow as pa

    from .body import Body

FORMAT = "lepton-segment/3"
CONTENT_TYPE = "application/vnd.apache.parquet"
ROOT = "results"
TENANT = "default"  # of a device that writes to a store by itself
SUFFIX = ".cose"
MAX_OBJECT_BYTES = 64 << 20  # 16 times the uploader's `segment_bytes`; bounds what the ingest service holds in memory
MAX_RECORDS = 1 << 20  # bounds what a reader allocates for one segment; the uploader makes 5000

_MAX_ENTRIES = 32  # of a header's maps: today 5 and 7
_LAST_DAY_MS = 253402214400000  # 9999-12-31, the last day of `datetime`; a device's clock may be later
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEX = {n: re.compile(f"[0-9a-f]{{{n}}}") for n in (32, 64)}
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_KEY = re.compile(rf"{ROOT}/tenant=(?P<tenant>{_PART})/device=(?P<device>{_PART})/date=(?P<date>\d{{4}}-\d\d-\d\d)/"
                  r"(?P<spool>[0-9a-f]{32})-(?P<sequence>\d{12})-(?P<digest>[0-9a-f]{64})\.cose")


class Key(NamedTuple):
    """The parts of a segment's key. `date`: of its first record (UTC), as 2026-11-30."""

    tenant: str
    device: str
    date: str
    spool: str
    sequence: int
    digest: str


@dataclass(frozen=True)
class Header:
    """A segment's metadata, signed but not encrypted.

    The records belong to one run and their numbers ascend, with gaps where the spool has dropped records. A segment
    without records (run "", first 0, last -1) reports only the counters.
    """

    format: str
    tenant: str
    device: str
    spool: str  # 32 hex digits; `sequence` counts from 0 for each spool of a device
    sequence: int
    previous: str  # SHA-256 of the whole segment before this one, "" for the first
    run: str
    first: int  # number of the first record, counted per run from 0
    last: int
    records: int
    from_ms: int  # device's clock when the first and the last record were spooled, ms since 1970; it may jump
    to_ms: int
    origin: dict[str, str]  # model, model_hash, program_hash, config_hash and backend of the run, if known
    counters: dict[str, int]  # the spool's counters when the segment was sealed


@dataclass(frozen=True)
class Segment:
    """A whole segment: `data` is stored under `key`."""

    key: str
    header: Header
    envelope: envelope.Envelope

    @property
    def data(self) -> bytes:
        return self.envelope.data

    @property
    def digest(self) -> str:
        return split_key(self.key).digest

    @property
    def signer(self) -> str:
        """The public key (hex) that says to have signed the segment."""
        return self.envelope.signer

    def check_signature(self, keyring: Keyring) -> None:
        """Raise `SegmentError` unless a key that is trusted for the device has signed the segment."""
        with _named(self.key, "is forged: "):
            self.envelope.check()
        if not keyring.trusts(self.signer, self.header.tenant, self.header.device, self.envelope.certificate):
            raise UnknownSignerError(f"segment {self.key} is signed by the key {self.signer}, which is not trusted",
                                     self.signer)

    def body(self, keyring: Keyring) -> "Body":
        """The decrypted body, after the check of the signature. Raises `SegmentError`."""
        from .body import Body
        self.check_signature(keyring)
        with _named(self.key):
            return Body(self.envelope.decrypt(keyring.readers, keyring.data_keys.get(self.digest)), self.header)

    def table(self, keyring: Keyring, columns: Sequence[str] | None = None) -> "pa.Table":
        """The records as an Arrow table (`body`), or some of its columns, after all checks. Raises `SegmentError`."""
        found = self.body(keyring)
        with _named(self.key):
            return found.read(columns)

    def open(self, keyring: Keyring) -> list[dict[str, Any]]:
        """The records as they were spooled, after all checks. Raises `SegmentError`."""
        from . import body
        return body.records(self.table(keyring))


def seal(keys: DeviceKeys, records: Sequence[bytes], *, device: str, spool: str, sequence: int, previous: str, run: str,
         first: int, last: int, from_ms: int, to_ms: int, origin: dict[str, str], counters: dict[str, int],
         tenant: str = TENANT) -> Segment:
    """A segment of records, lines as `records.line` makes them; see `Header` for the other arguments.

    Raises `MixedOutputs` if the records cannot be in one segment.
    """
    from . import body
    header = Header(FORMAT, tenant, device, spool, sequence, previous, run, first, last, len(records), from_ms, to_ms,
                    origin, counters)
    _check(header)
    data = envelope.seal(keys, asdict(header), CONTENT_TYPE, body.write(records, device))
    if len(data) > MAX_OBJECT_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_OBJECT_BYTES} bytes, not {len(data)}; seal fewer records "
                           "at once")
    return Segment(key_of(header, sha256(data)), header, envelope.parse(data))


def parse(data: bytes, key: str | None = None) -> Segment:
    """A segment from its bytes. Structure and digest are checked, and that they belong to `key` if it is given.

    The signature is not checked: `check_signature`, `table` and `open` do that. Raises `SegmentError`.
    """
    digest = sha256(data)
    if key is not None and split_key(key).digest != digest:
        raise SegmentError(f"segment {key} is damaged: its bytes have the SHA-256 {digest}")
    if len(data) > MAX_OBJECT_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_OBJECT_BYTES} bytes, not {len(data)}")
    found = envelope.parse(data)
    if found.content_type != CONTENT_TYPE:
        raise SegmentError(f"a segment must have the content type {CONTENT_TYPE}, not {found.content_type!r}")
    try:
        header = Header(**found.header)
    except TypeError as error:
        raise SegmentError(f"a segment's header cannot be read: {error}") from error
    _check(header)
    own = key_of(header, digest)
    if key not in (None, own):
        raise SegmentError(f"segment {key} has the header of {own}")
    return Segment(own, header, found)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def key_of(header: Header, digest: str) -> str:
    return join_key(Key(header.tenant, header.device, date_of(header.from_ms), header.spool, header.sequence, digest))


def join_key(key: Key) -> str:
    return (f"{ROOT}/tenant={key.tenant}/device={key.device}/date={key.date}/"
            f"{key.spool}-{key.sequence:012d}-{key.digest}{SUFFIX}")


def date_of(ms: int) -> str:
    """The date (UTC) of a time in ms since 1970."""
    return datetime.datetime.fromtimestamp(min(ms, _LAST_DAY_MS) / 1000, datetime.UTC).strftime("%Y-%m-%d")


def split_key(key: str) -> Key:
    """The parts of a segment's key. Raises `SegmentError`."""
    match = _KEY.fullmatch(key)
    if not match:
        raise SegmentError(f"{key!r} is not the key of a segment, {ROOT}/tenant=<tenant>/device=<device>/date=<date>/"
                           f"<spool>-<sequence>-<sha256>{SUFFIX}")
    return Key(match["tenant"], match["device"], match["date"], match["spool"], int(match["sequence"]),
               match["digest"])


def printable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 and so CBOR cannot have, as escapes."""
    return text.encode(errors="backslashreplace").decode()


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys by tenant, device, spool and sequence number, whatever their dates; the clock may have jumped.

    Raises `SegmentError` for one that is not the key of a segment.
    """
    return sorted(keys, key=lambda key: split_key(key)._replace(date=""))


def check_name(name: str, what: str = "device") -> str:
    """`name` itself if it can be part of a key. Raises `SegmentError` otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SegmentError(f"a {what} name must be 1 to 64 letters, digits, dots, underscores or hyphens and start "
                           f"with a letter or digit, not {name!r}")
    return name


@contextlib.contextmanager
def _named(key: str, what: str = "") -> Iterator[None]:
    """Name the segment in errors."""
    try:
        yield
    except SegmentError as error:
        raise SegmentError(f"segment {key}: {what}{error}") from error


def _check(header: Header) -> None:
    """Types and ranges of every field. Raises `SegmentError`."""
    for f in fields(Header):
        value = getattr(header, f.name)
        if f.type is int and (type(value) is not int or not -1 <= value < 1 << 62):
            raise SegmentError(f"a segment's {f.name} must be an integer of at least 0, not {value!r}")
        if f.type is str and not isinstance(value, str):
            raise SegmentError(f"a segment's {f.name} must be a string, not {value!r}")
    if header.format != FORMAT:
        raise SegmentError(f"a segment has the format {header.format!r}; this version reads {FORMAT!r}")
    check_name(header.tenant, "tenant")
    check_name(header.device)
    for name, digits in (("spool", 32), ("previous", 64)):
        value = getattr(header, name)
        if not _HEX[digits].fullmatch(value) and not (name == "previous" and value == ""):
            raise SegmentError(f"a segment's {name} must be {digits} hexadecimal digits, not {value!r}")
    _check_numbers(header)
    check_map("origin", header.origin, str)
    check_map("counters", header.counters, int)


def _check_numbers(header: Header) -> None:
    if header.records:
        check_name(header.run, "run")
    elif (header.run, header.first, header.last) != ("", 0, -1):
        raise SegmentError("a segment without records must have run '', first 0 and last -1")
    if min(header.sequence, header.first, header.records, header.from_ms, header.to_ms) < 0 \
            or header.records > header.last - header.first + 1 or header.sequence >= 10 ** 12:
        raise SegmentError(f"a segment cannot have {header.records} records from {header.first} to {header.last} "
                           f"and the sequence {header.sequence}")
    if header.records > MAX_RECORDS:
        raise SegmentError(f"a segment may have at most {MAX_RECORDS} records, not {header.records}")


def check_map(name: str, value: Mapping, kind: type[str] | type[int]) -> None:
    """Raise `SegmentError` unless `value` can be the map `name` of a header."""
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES or not all(
            isinstance(k, str) and len(k) <= 64 and _is_value(v, kind) for k, v in value.items()):
        what = "strings of at most 256 Unicode characters" if kind is str else "integers of at least 0"
        raise SegmentError(f"a segment's {name} must be a map of at most {_MAX_ENTRIES} names of at most 64 characters "
                           f"to {what}, not {str(value)[:200]}")


def _is_value(value: object, kind: type[str] | type[int]) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind) or (isinstance(value, str) and value != printable(value)):
        return False
    return len(value) <= 256 if isinstance(value, str) else value >= 0
