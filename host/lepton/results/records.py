"""Records as lines of JSON. Run and number are the last members, so that they can be read without parsing the line.

Values that JSON does not have are written as follows; all others are refused:

- not-a-number and the infinities: the strings "NaN", "Infinity" and "-Infinity", as in Protocol Buffers' JSON mapping;
  `numpy.array(values, dtype)` reads them back
- numpy scalars and arrays: numbers and lists
- paths: strings; dates and times: ISO 8601
"""

import datetime
import json
import math
import os
import re
import zlib
from collections.abc import Mapping

import numpy as np

from .errors import RecordError
from .schema import PAGE

MAX_BYTES = 16 << 20  # of a record's line: a quarter of the largest segment (`segment.MAX_OBJECT_BYTES`)
MAX_DEPTH = 32  # nested lists and objects; readers in other languages allow 64 (System.Text.Json) to 512 (PHP) and more

# Upper bound of a row's bytes besides its line: cell pointer 2, payload size 9, row id 9, header 9, time 6, checksum 6
# (sqlite.org/fileformat2.html, sections 1.6 and 2.1) are 41; the rest covers its share of the pages' headers and of the
# interior pages.
_ROW_BYTES = 80
MAX_TAIL = 128  # bytes of run and number at the end of a line: 64 of the name, 18 digits, and 20 besides
_TAIL = re.compile(rb'"run":"([A-Za-z0-9._-]{1,64})","number":(\d{1,18})\}$')


def encode(record: Mapping) -> bytes:
    """A record's line without run and number (`line` adds them). Raises `RecordError` if it can never be stored."""
    if not isinstance(record, Mapping):
        raise RecordError(f"a record must be a mapping of names to values, not {type(record).__name__}")
    fields = {name: value for name, value in record.items() if name not in ("run", "number")}
    try:
        text = _text(fields)
    except RecordError:
        raise
    except Exception as error:  # a value's own methods may raise anything
        raise RecordError(f"a record cannot be written as JSON: {str(error)[:200] or type(error).__name__}") from error
    if len(text) > MAX_BYTES:
        raise RecordError(f"a record may have at most {MAX_BYTES} bytes, not {len(text)}")
    return text[:-1].encode() + (b"," if len(text) > 2 else b"")


def line(body: bytes, run: str, number: int) -> bytes:
    """The whole line of a record that `encode` has returned."""
    return b"%b%b%d}" % (body, before_number(run), number)


def before_number(run: str) -> bytes:
    """What a run's lines have before their number."""
    return b'"run":"%b","number":' % run.encode()


def tail(text: bytes) -> tuple[str, int] | None:
    """(run, number) of a line; None if it does not end with them."""
    match = _TAIL.search(text[-MAX_TAIL:])
    return (match[1].decode(), int(match[2])) if match else None


def sound(text: object, checksum: object) -> bool:
    """Whether a row's record is intact. The values come from a file that may be damaged."""
    return isinstance(text, bytes) and zlib.crc32(text) == checksum and tail(text) is not None


def stored_bytes(text: bytes) -> int:
    """Upper bound of the bytes that a line takes in the file.

    Rows of more than half a page may leave the rest of a page empty, and long ones continue on overflow pages
    (sqlite.org/fileformat2.html, section 1.6), whose headers and remainders 512 bytes a page cover.
    """
    size = len(text) + _ROW_BYTES
    return size if size < PAGE // 2 else -(-size // (PAGE - 512)) * PAGE


def _text(fields: dict) -> str:
    """The fields as JSON: directly if all values have JSON's types and are not nested too deep, otherwise converted."""
    try:
        text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
        if text.count("[") + text.count("{") <= MAX_DEPTH:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    return json.dumps(_plain(fields, "", MAX_DEPTH), separators=(",", ":"), allow_nan=False)


def _plain(value: object, where: str, depth: int) -> object:
    """The value in JSON's own types. `where` names it in errors."""
    if isinstance(value, np.generic):
        value = value.item() if value.dtype.kind in "biufUM" else value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufUM":
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple):
        if not depth:
            raise RecordError(f"{_name(where)} has more than {MAX_DEPTH} nested lists and objects")
        if isinstance(value, Mapping):
            return {_key(name, where): _plain(member, f"{where}.{name}", depth - 1) for name, member in value.items()}
        return [_plain(member, f"{where}[{i}]", depth - 1) for i, member in enumerate(value)]
    raise RecordError(f"{_name(where)} has a value of type {type(value).__name__}, which JSON does not have; give a "
                      "number, a string, or lists and dicts of them")


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(name: object, where: str) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return str(int(name))
    raise RecordError(f"{_name(where)} has a key of type {type(name).__name__}; keys must be strings or whole numbers")


def _name(where: str) -> str:
    return f"field {where[1:121]!r} of a record" if where else "a record"
