"""Records as lines: JSON objects that end with their run and number, which readers find without parsing the rest."""

import json
import re
import zlib
from collections.abc import Mapping

from .errors import SpoolError
from .schema import PAGE

_ROW_BYTES = 80  # of a record besides its text: header, row id, time, checksum, cell pointer
_TAIL = re.compile(rb'"run":"([A-Za-z0-9._-]{1,64})","number":(\d{1,18})\}$')


def encode(record: Mapping) -> bytes:
    """A record's line up to where run and number follow. Raises `SpoolError` if it is not JSON."""
    try:
        text = json.dumps({k: v for k, v in record.items() if k not in ("run", "number")}, separators=(",", ":"),
                          allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SpoolError(f"a record is not JSON: {error}") from error
    return text[:-1].encode() + (b"," if len(text) > 2 else b"")


def line(body: bytes, run: str, number: int) -> bytes:
    return body + b'"run":"%b","number":%d}' % (run.encode(), number)


def tail(text: bytes) -> tuple[str, int] | None:
    """(run, number) of a line, None if it has none."""
    match = _TAIL.search(text[-128:])
    return (match[1].decode(), int(match[2])) if match else None


def sound(text: object, checksum: object) -> bool:
    """Whether a row of the file has its record intact; a damaged file can hold anything."""
    return isinstance(text, bytes) and zlib.crc32(text) == checksum and tail(text) is not None


def stored_bytes(text: bytes) -> int:
    """Upper estimate of what a line takes in the file; long rows spill to pages of their own."""
    size = len(text) + _ROW_BYTES
    return size if size < PAGE // 2 else -(-size // (PAGE - 512)) * PAGE
