"""Segments: the objects that leave the device (format in docs/decisions/11-segments.md).

    8 bytes   magic "LEPSEG2\\n"
    4 bytes   length of the header, little-endian
              header: canonical JSON (sorted keys, no spaces, ASCII)
    64 bytes  Ed25519 signature of FORMAT, a zero byte and the header's bytes
              body: AES-256-GCM of the zstd frame of the records' JSON lines, its tag at the end

A segment's key in a store is `results/<device>/<sequence>-<SHA-256 of all its bytes>`, so storing it twice makes one
object. Structure, digests and signature can be checked without secret keys; only the records need the data key.
"""

import hashlib
import json
import re
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import SegmentError, UnknownSignerError
from .keys import DeviceKeys, Keyring

FORMAT = "lepton-segment/2"
CODEC = "zstd"
CIPHER = "AES-256-GCM"
ROOT = "results"
MAGIC = b"LEPSEG2\n"
MAX_HEADER_BYTES = 64 << 10  # today's headers have some 1.2 KiB; the rest is for more entries in the two maps
MAX_OBJECT_BYTES = 64 << 20  # 16 times the uploader's `segment_bytes`; bounds what the ingest service holds in memory
MAX_PLAIN_BYTES = 256 << 20  # bounds what a reader allocates for one segment

_SIGNATURE_BYTES = 64  # Ed25519 (RFC 8032, section 5.1.6)
_NONCE_BYTES = 12  # GCM's recommended 96 bits (NIST SP 800-38D, section 5.2.1.1)
_TAG_BYTES = 16  # GCM's full tag of 128 bits
_LEVEL = 3  # zstd's default
_MAX_ENTRIES = 32  # of a header's maps: today 5 and 7
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEX = {n: re.compile(f"[0-9a-f]{{{n}}}") for n in (16, 24, 32, 64)}
_KEY = re.compile(ROOT + r"/(?P<device>[A-Za-z0-9][A-Za-z0-9._-]{0,63})/(?P<sequence>\d{12})-(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Header:
    """A segment's metadata, signed but not encrypted.

    The records belong to one run and their numbers ascend, with gaps where the spool has dropped records. A segment
    without records (run "", first 0, last -1) reports only the counters.
    """

    format: str
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
    codec: str
    plain_bytes: int
    plain_sha256: str
    cipher: str
    key_id: str
    nonce: str
    body_bytes: int
    body_sha256: str
    signer: str  # the device's Ed25519 public key, hex

    def canonical(self) -> bytes:
        """The header's bytes in a segment."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @property
    def associated(self) -> bytes:
        """The cipher's associated data: they bind a body to its segment."""
        return f"{FORMAT}\n{self.device}\n{self.spool}\n{self.sequence}".encode()


@dataclass(frozen=True)
class Segment:
    """A whole segment: `data` is stored under `key`."""

    key: str
    header: Header
    data: bytes

    @property
    def digest(self) -> str:
        return self.key.rpartition("-")[2]

    def check_signature(self, signers: frozenset[str] | set[str]) -> None:
        """Raise `SegmentError` unless one of these public keys (hex) has signed the header."""
        if self.header.signer not in signers:
            raise UnknownSignerError(f"segment {self.key} is signed by the key {self.header.signer}, which is not "
                                     "trusted", self.header.signer)
        canonical, signature, _ = _split(self.data)
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.header.signer)).verify(
                signature, _signed(canonical))
        except InvalidSignature as error:
            raise SegmentError(f"segment {self.key} is forged: its signature is not that of "
                               f"{self.header.signer}") from error

    def open(self, keyring: Keyring) -> list[dict]:
        """The records, after all checks. Raises `SegmentError`."""
        self.check_signature(keyring.signers)
        header = self.header
        key = keyring.data.get(header.key_id)
        if key is None:
            raise SegmentError(f"segment {self.key} is encrypted with the data key {header.key_id}, which is "
                               "not among the keys; put back a copy of the device's data.json that has it")
        try:
            packed = AESGCM(key).decrypt(bytes.fromhex(header.nonce), _split(self.data)[2], header.associated)
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=header.plain_bytes)
        except InvalidTag as error:
            raise SegmentError(f"segment {self.key} cannot be decrypted: it is altered, or the key is wrong") from error
        except zstandard.ZstdError as error:
            raise SegmentError(f"segment {self.key} cannot be decompressed: {error}") from error
        if len(plain) != header.plain_bytes or sha256(plain) != header.plain_sha256:
            raise SegmentError(f"segment {self.key} does not have the records that its header describes")
        try:
            records = [json.loads(line) for line in plain.splitlines()]
            numbers = [record["number"] for record in records]
            runs = {record["run"] for record in records}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SegmentError(f"segment {self.key} has a line that is not a record: {error}") from error
        if len(records) != header.records or runs - {header.run} or numbers != sorted(set(numbers)) \
                or (numbers and (numbers[0], numbers[-1]) != (header.first, header.last)):
            raise SegmentError(f"segment {self.key} has {len(records)} records of runs {sorted(runs)}, its header says "
                               f"{header.records} from {header.first} to {header.last} of run {header.run!r}")
        return records


def seal(keys: DeviceKeys, records: Sequence[bytes], *, device: str, spool: str, sequence: int, previous: str, run: str,
         first: int, last: int, from_ms: int, to_ms: int, origin: dict[str, str], counters: dict[str, int]) -> Segment:
    """A segment of records, each a JSON text without line breaks; see `Header` for the other arguments."""
    plain = b"".join(line + b"\n" for line in records)
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(plain)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    header = Header(
        format=FORMAT, device=device, spool=spool, sequence=sequence, previous=previous, run=run, first=first,
        last=last, records=len(records), from_ms=from_ms, to_ms=to_ms, origin=origin, counters=counters, codec=CODEC,
        plain_bytes=len(plain), plain_sha256=sha256(plain), cipher=CIPHER, key_id=keys.current, nonce=nonce.hex(),
        body_bytes=len(packed) + _TAG_BYTES, body_sha256="", signer=keys.public_hex)
    body = AESGCM(keys.data[keys.current]).encrypt(nonce, packed, header.associated)
    header = replace(header, body_sha256=sha256(body))
    _check(header)
    canonical = header.canonical()
    data = b"".join((MAGIC, struct.pack("<I", len(canonical)), canonical, keys.signing.sign(_signed(canonical)), body))
    if len(data) > MAX_OBJECT_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_OBJECT_BYTES} bytes, not {len(data)}; seal fewer records "
                           "at once")
    return Segment(key_of(header.device, header.sequence, sha256(data)), header, data)


def parse(data: bytes, key: str | None = None) -> Segment:
    """A segment from its bytes. Structure and digests are checked, and that they belong to `key` if it is given.

    The signature is not checked: `check_signature` and `open` do that. Raises `SegmentError`.
    """
    digest = sha256(data)
    if key is not None and split_key(key)[2] != digest:
        raise SegmentError(f"segment {key} is damaged: its bytes have the SHA-256 {digest}")
    canonical, _, body = _split(data)
    try:
        header = Header(**json.loads(canonical))
        _check(header)
        if header.canonical() != canonical:
            raise SegmentError("a segment's header is not in canonical form")
    except (ValueError, TypeError, RecursionError) as error:
        raise SegmentError(f"a segment's header cannot be read: {error}") from error
    if len(body) != header.body_bytes or sha256(body) != header.body_sha256:
        raise SegmentError(f"a segment's body of {len(body)} bytes does not have the length and digest that its header "
                           "says")
    own = key_of(header.device, header.sequence, digest)
    if key not in (None, own):
        raise SegmentError(f"segment {key} has the header of number {header.sequence} of device {header.device!r}")
    return Segment(own, header, data)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def key_of(device: str, sequence: int, digest: str) -> str:
    return f"{ROOT}/{device}/{sequence:012d}-{digest}"


def split_key(key: str) -> tuple[str, int, str]:
    """(device, sequence, SHA-256) of a segment's key. Raises `SegmentError`."""
    match = _KEY.fullmatch(key)
    if not match:
        raise SegmentError(f"{key!r} is not the key of a segment, {ROOT}/<device>/<sequence>-<sha256>")
    return match["device"], int(match["sequence"]), match["digest"]


def check_name(name: str, what: str = "device") -> str:
    """`name` itself if it can be part of a key. Raises `SegmentError` otherwise."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SegmentError(f"a {what} name must be 1 to 64 letters, digits, dots, underscores or hyphens and start "
                           f"with a letter or digit, not {name!r}")
    return name


def _signed(canonical: bytes) -> bytes:
    return FORMAT.encode() + b"\0" + canonical


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, signature, body."""
    if len(data) > MAX_OBJECT_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_OBJECT_BYTES} bytes, not {len(data)}")
    start = len(MAGIC) + 4
    if data[:len(MAGIC)] != MAGIC or len(data) < start:
        raise SegmentError(f"the bytes are not a segment: they must begin with {MAGIC!r}")
    length = struct.unpack_from("<I", data, len(MAGIC))[0]
    end = start + length
    if length > MAX_HEADER_BYTES or len(data) < end + _SIGNATURE_BYTES + _TAG_BYTES:
        raise SegmentError(f"a segment of {len(data)} bytes cannot have a header of {length} "
                           f"(at most {MAX_HEADER_BYTES}); it is truncated or damaged")
    return data[start:end], data[end:end + _SIGNATURE_BYTES], data[end + _SIGNATURE_BYTES:]


def _check(header: Header) -> None:
    """Types and ranges of every field. Raises `SegmentError`."""
    for f in fields(Header):
        value = getattr(header, f.name)
        if f.type is int and (type(value) is not int or not -1 <= value < 1 << 62):
            raise SegmentError(f"a segment's {f.name} must be an integer of at least 0, not {value!r}")
        if f.type is str and not isinstance(value, str):
            raise SegmentError(f"a segment's {f.name} must be a string, not {value!r}")
    for name, value in (("format", FORMAT), ("codec", CODEC), ("cipher", CIPHER)):
        if getattr(header, name) != value:
            raise SegmentError(f"a segment has the {name} {getattr(header, name)!r}; this version reads {value!r}")
    check_name(header.device)
    for name, digits in (("spool", 32), ("plain_sha256", 64), ("key_id", 16), ("nonce", 24), ("signer", 64),
                         ("previous", 64), ("body_sha256", 64)):
        value = getattr(header, name)
        if not _HEX[digits].fullmatch(value) and not (name in ("previous", "body_sha256") and value == ""):
            raise SegmentError(f"a segment's {name} must be {digits} hexadecimal digits, not {value!r}")
    _check_numbers(header)
    check_map("origin", header.origin, str)
    check_map("counters", header.counters, int)


def _check_numbers(header: Header) -> None:
    if header.records:
        check_name(header.run, "run")
    elif (header.run, header.first, header.last) != ("", 0, -1):
        raise SegmentError("a segment without records must have run '', first 0 and last -1")
    if min(header.sequence, header.first, header.records, header.from_ms, header.to_ms, header.plain_bytes) < 0 \
            or header.records > header.last - header.first + 1 or header.sequence >= 10 ** 12:
        raise SegmentError(f"a segment cannot have {header.records} records from {header.first} to {header.last} "
                           f"and the sequence {header.sequence}")
    if header.plain_bytes > MAX_PLAIN_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_PLAIN_BYTES} bytes of records, not {header.plain_bytes}")


def check_map(name: str, value: Mapping, kind: type[str] | type[int]) -> None:
    """Raise `SegmentError` unless `value` can be the map `name` of a header."""
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES or not all(
            isinstance(k, str) and len(k) <= 64 and _is_value(v, kind) for k, v in value.items()):
        what = "strings of at most 256 characters" if kind is str else "integers of at least 0"
        raise SegmentError(f"a segment's {name} must be a map of at most {_MAX_ENTRIES} names of at most 64 characters "
                           f"to {what}, not {str(value)[:200]}")


def _is_value(value: object, kind: type[str] | type[int]) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return len(value) <= 256 if isinstance(value, str) else value >= 0
