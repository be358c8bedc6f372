"""What a Parquet file unpacks to, from the headers of its pages.

A file's footer may say anything, and a few bytes can stand for any number of values: by zstd, by run lengths, or by a
dictionary with one long text. So before the body of an unknown sender is read, each page's header is (Apache Parquet
Format, "Data Pages"; parquet.thrift): it has the size to which the page is unpacked, the number of its values and their
encoding. The headers are in Thrift's compact protocol (Apache Thrift, "Thrift compact protocol encoding").
"""

from typing import Any

import pyarrow.parquet as pq

from .errors import SegmentError

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}  # bytes of a value in memory
_LEVELS = 4  # bytes of the definition and repetition level of a value
_DATA = 0  # types of pages (parquet.thrift, PageType)
_DICTIONARY = 2
_DATA_V2 = 3
_HEADERS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}  # the field of PageHeader that describes a page of this type
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_V2: 4}  # the field of that header with the encoding
_PLAIN = 0  # encodings (parquet.thrift, Encoding)
_DICTIONARIES = (2, 8)  # PLAIN_DICTIONARY, RLE_DICTIONARY
_MAX_PAGES = 100_000  # of a column; a page of the writer has 1 MiB


def unpacked_bytes(data: bytes, file: pq.ParquetFile) -> int:
    """Bytes of memory that reading the whole file takes at most. Raises `SegmentError` for pages that cannot be read.

    Texts may have a dictionary only in columns that are read as one, as otherwise a long text could be repeated without
    end.
    """
    metadata = file.metadata
    dictionaries = _read_as_dictionary(file)
    total = 0
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            path = column.path_in_schema
            starts = [offset for offset in (column.dictionary_page_offset, column.data_page_offset) if offset]
            if not column.num_values and not column.total_compressed_size:
                continue
            if not starts or column.total_compressed_size < 0:
                raise SegmentError(f"its column {path!r} has no pages")
            size = metadata.schema.column(index).length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else \
                _WIDTHS.get(column.physical_type, 0)
            total += _column_bytes(data, min(starts), column.total_compressed_size, size, path,
                                   path in dictionaries)
    return total


def _read_as_dictionary(file: pq.ParquetFile) -> set[str]:
    """Paths of the columns that Arrow reads as dictionaries, members of structs included."""
    found: set[str] = set()
    waiting = [(field.name, field.type) for field in file.schema_arrow]
    while waiting:
        path, kind = waiting.pop()
        if str(kind).startswith("dictionary"):
            found.add(path)
        elif str(kind).startswith("struct"):
            waiting += [(f"{path}.{child.name}", child.type) for child in kind]
    return found


def _column_bytes(data: bytes, start: int, length: int, width: int, path: str, keeps_dictionary: bool) -> int:
    """Bytes in memory of one column's pages, which are from `start` on. `width`: of a value, 0 for texts."""
    total = 0
    values = 0
    end = start + length
    for _ in range(_MAX_PAGES):
        if start >= end:
            return total + values * (width + _LEVELS)
        header, body = _struct(data, start, 0)
        kind = header.get(1)
        described = header.get(_HEADERS[kind]) if isinstance(kind, int) and kind in _HEADERS else None
        unpacked = header.get(2)
        packed = header.get(3)
        if not (isinstance(kind, int) and isinstance(described, dict) and isinstance(unpacked, int)
                and isinstance(packed, int)) or min(unpacked, packed) < 0:
            raise SegmentError(f"its column {path!r} has a page of an unknown kind")
        count = described.get(1)
        encoding = described.get(_ENCODING[kind])
        if not isinstance(count, int) or count < 0:
            raise SegmentError(f"its column {path!r} has a page without a number of values")
        if not width and encoding != _PLAIN and not (encoding in _DICTIONARIES and keeps_dictionary):
            raise SegmentError(f"its column {path!r} has texts in the encoding {encoding}, which may repeat a long "
                               "text any number of times")
        total += unpacked
        if kind != _DICTIONARY:
            values += count
        start = body + packed
    raise SegmentError(f"its column {path!r} has more than {_MAX_PAGES} pages")


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by number, and where it ends."""
    if depth > 8:  # a page's header has 3 levels
        raise SegmentError("a page's header is nested too deep")
    found: dict[int, Any] = {}
    number = 0
    while True:
        head = _byte(data, at)
        at += 1
        if head == 0:
            return found, at
        step = head >> 4
        if step:
            number += step
        else:
            number, at = _zigzag(data, at)
        found[number], at = _value(data, at, head & 15, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true, false
        return kind == 1, at
    if kind == 3:
        return _byte(data, at), at + 1
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        size, at = _varint(data, at)
        return None, at + size
    if kind == 12:
        return _struct(data, at, depth + 1)
    raise SegmentError(f"a page's header has a field of the unknown type {kind}")  # lists, which page headers have not


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        part = _byte(data, at)
        at += 1
        value |= (part & 127) << shift
        if part < 128:
            return value, at
    raise SegmentError("a page's header has an integer of more than 64 bits")


def _byte(data: bytes, at: int) -> int:
    if not 0 <= at < len(data):
        raise SegmentError("a page's header ends too early")
    return data[at]
