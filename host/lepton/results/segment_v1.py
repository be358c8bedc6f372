"""Reads segments of the first format: gzip streams of JSON lines, a header and one line per record.

Stores may still have some. They are not signed; the digest in the key detects damage.
"""

import gzip
import io
import json

from .errors import SegmentError
from .segment import MAX_PLAIN_BYTES, sha256, split_key

FORMAT = "lepton-segment/1"
MAGIC = b"\x1f\x8b"  # of gzip (RFC 1952)


def decode(key: str, body: bytes) -> tuple[dict, list[dict]]:
    """Header and records of a stored object that has the digest in its key. Raises `SegmentError`."""
    device, sequence, digest = split_key(key)
    if (found := sha256(body)) != digest:
        raise SegmentError(f"segment {key} is damaged: its bytes have the SHA-256 {found}")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            plain = stream.read(MAX_PLAIN_BYTES + 1)
        header, *records = (json.loads(line) for line in plain.splitlines())
        claimed = header["format"], header["device"], header["sequence"], header["records"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise SegmentError(f"segment {key} cannot be read: {error}") from error
    if len(plain) > MAX_PLAIN_BYTES:
        raise SegmentError(f"a segment may have at most {MAX_PLAIN_BYTES} bytes of records; {key} has more")
    if claimed != (FORMAT, device, sequence, len(records)):
        raise SegmentError(f"segment {key} has {len(records)} records; its header describes another one: format "
                           f"{claimed[0]!r}, device {claimed[1]!r}, number {claimed[2]}, {claimed[3]} records")
    return header, records
