"""Segments: the objects that leave the device.

A segment is a gzip stream of JSON lines: a header, then one line per record.
Its key carries the SHA-256 of its bytes, so that storing it again stores
nothing new, and every header names the digest of the segment before it, so that a missing
or exchanged one shows. Bytes are made once and kept until the store has
confirmed them: no replay depends on the encoder giving the same bytes twice.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import SegmentError

FORMAT = "lepton-segment/1"
ROOT = "results"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(ROOT + r"/(?P<device>[A-Za-z0-9][A-Za-z0-9._-]{0,63})/(?P<sequence>\d{12})-(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Segment:
    """One object on its way to the store: `body` belongs under `key`."""

    sequence: int
    key: str
    records: int
    body: bytes

    @property
    def digest(self) -> str:
        return self.key.rpartition("-")[2]


def check_device_name(device: str) -> str:
    """The name, if it can be part of a key. Raises `SegmentError` otherwise."""
    if not _NAME.fullmatch(device):
        raise SegmentError("a device name must be 1 to 64 letters, digits, dots, underscores or hyphens and start "
                           f"with a letter or digit, not {device!r}")
    return device


def encode(header: Mapping, records: Sequence[bytes]) -> bytes:
    """Segment bytes from a header and records that are JSON texts without line breaks."""
    head = json.dumps({"format": FORMAT, **header}, sort_keys=True, separators=(",", ":")).encode()
    return gzip.compress(b"\n".join((head, *records)) + b"\n", compresslevel=6, mtime=0)


def make(device: str, sequence: int, header: Mapping, records: Sequence[bytes]) -> Segment:
    """A segment of a device with its key."""
    body = encode({"device": device, "sequence": sequence, "records": len(records), **header}, records)
    return Segment(sequence, f"{ROOT}/{device}/{sequence:012d}-{hashlib.sha256(body).hexdigest()}", len(records), body)


def decode(key: str, body: bytes) -> tuple[dict, list[dict]]:
    """Header and records of a stored object, checked against its key. Raises `SegmentError`."""
    match = _KEY.fullmatch(key)
    if not match:
        raise SegmentError(f"{key!r} is not the key of a segment, {ROOT}/<device>/<sequence>-<sha256>")
    digest = hashlib.sha256(body).hexdigest()
    if digest != match["digest"]:
        raise SegmentError(f"segment {key} is damaged: its bytes have the SHA-256 {digest}")
    try:
        lines = gzip.decompress(body).splitlines()
        header, *records = (json.loads(line) for line in lines)
    except (OSError, EOFError, ValueError) as error:
        raise SegmentError(f"segment {key} cannot be read: {error}") from error
    if header.get("format") != FORMAT:
        raise SegmentError(f"segment {key} has the format {header.get('format')!r}; this version reads {FORMAT!r}")
    if (header["device"], header["sequence"]) != (match["device"], int(match["sequence"])):
        raise SegmentError(f"segment {key} says in its header that it is number {header['sequence']} "
                           f"of device {header['device']!r}")
    if header["records"] != len(records):
        raise SegmentError(f"segment {key} has {len(records)} records, its header says {header['records']}")
    return header, records
