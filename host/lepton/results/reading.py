"""Reads results back: `lepton.results.open(store).table()`.

    results = lepton.results.open("s3://bucket/prefix", keys=["reader.pem", "authority.pem"])
    results.runs()                                # what there is; needs no secret key
    results.query("SELECT fields.label, count(*) FROM results GROUP BY ALL").to_pandas()
    values = lepton.results.tensor(results.table(), "classifier")

Everything is checked before it is used: digest, signature, and header against body. Columns are described in `body`.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import segment as segments
from .errors import CloudError
from .keyrings import load_keyring
from .keys import Keyring

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

WORKERS = 4  # threads that read, decrypt and unpack; most of it releases Python's lock
TABLE = "results"  # its name in SQL
FORMATS = ("parquet", "csv")

_Out = TypeVar("_Out")


class ResultsError(CloudError):
    """Results cannot be read, or a query is wrong."""


class Source(Protocol):
    """Where segments are read from: a `Store`, or the ingest service (`service_source.ServiceSource`)."""

    where: str

    def keys(self, device: str | None = None, since: str = "", until: str = "") -> list[str]:
        """Keys of the segments in order; optionally of one device, or of dates like 2026-11-30."""
        ...

    def heads(self) -> list[str]:
        """Keys of the signed heads, in order."""
        ...

    def get(self, key: str) -> bytes:
        """The bytes of an object. Raises `StoreError` if there is none."""
        ...


@dataclass
class RunSummary:
    """A run of a device as the headers of its segments describe it. Times are in ms since 1970."""

    tenant: str
    device: str
    run: str
    model: str
    backend: str
    from_ms: int
    to_ms: int
    records: int = 0
    segments: int = 0
    bytes: int = 0
    signers: set[str] = field(default_factory=set)


class Results:
    """The results of a source, optionally only those of a device, a run or some dates (the first and the last one)."""

    def __init__(self, source: Source, keyring: Keyring, *, device: str | None = None, run: str | None = None,
                 since: str = "", until: str = ""):
        self._source = source
        self._keyring = keyring
        self._device = device
        self._run = run
        self._since = since
        self._until = until

    def runs(self) -> list[RunSummary]:
        """The runs in order of time. Signatures are checked, contents are not decrypted."""
        found: dict[tuple[str, str, str], RunSummary] = {}
        for segment in self._segments():
            header = segment.header
            if not header.records:
                continue
            summary = found.setdefault((header.tenant, header.device, header.run), RunSummary(
                header.tenant, header.device, header.run, header.origin.get("model", ""),
                header.origin.get("backend", ""), header.from_ms, header.to_ms))
            summary.from_ms = min(summary.from_ms, header.from_ms)
            summary.to_ms = max(summary.to_ms, header.to_ms)
            summary.records += header.records
            summary.segments += 1
            summary.bytes += len(segment.data)
            summary.signers.add(segment.signer)
        return sorted(found.values(), key=lambda summary: summary.from_ms)

    def table(self) -> "pa.Table":
        """All results. Columns that segments do not have are null there. Raises `ResultsError` if there are none."""
        import pyarrow as pa
        tables = _agreed(list(self._opened()))
        if not tables:
            raise ResultsError(f"{self._source.where} has no results{self._selection()}; `lepton results list` shows "
                               "what there is")
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise ResultsError(f"the results of {self._source.where} do not fit one table ({error}); select a run"
                               ) from error

    def pandas(self) -> "pd.DataFrame":
        """`table` as a data frame, with columns like `fields.label` and `outputs.classifier.values`."""
        return flat(self.table()).to_pandas()

    def records(self) -> Iterator[dict[str, Any]]:
        """The results as dicts, outputs as a list of dicts with numpy arrays."""
        from . import body
        for table in self._opened():
            yield from body.records(table)

    def query(self, sql: str) -> "pa.Table":
        """The answer to a question in SQL (DuckDB) about the table `results`."""
        return query(self.table(), sql)

    def export(self, path: str | Path, form: str = "") -> int:
        """Write all results to a Parquet or CSV file, by the file's name or `form`; returns their number."""
        table = self.table()
        export(table, path, form)
        return table.num_rows

    def _selection(self) -> str:
        parts = [f" of {name} {value}" for name, value in (("device", self._device), ("run", self._run)) if value]
        parts += [f" {name} {value}" for name, value in (("from", self._since), ("until", self._until)) if value]
        return "".join(parts)

    def _segments(self) -> Iterator[segments.Segment]:
        """The segments, with checked signatures."""
        def load(key: str) -> segments.Segment:
            segment = segments.parse(self._source.get(key), key)
            segment.check_signature(self._keyring)
            return segment

        return (segment for segment in self._map(load) if self._run in (None, segment.header.run))

    def _opened(self) -> "Iterator[pa.Table]":
        def load(key: str) -> "pa.Table | None":
            segment = segments.parse(self._source.get(key), key)
            if not segment.header.records or self._run not in (None, segment.header.run):
                return None
            return segment.table(self._keyring)

        return (table for table in self._map(load) if table is not None)

    def _map(self, work: Callable[[str], _Out]) -> Iterator[_Out]:
        """Results of `work` for each key in order, a few of them in advance."""
        keys = iter(segments.in_order(self._source.keys(self._device, self._since, self._until)))
        with ThreadPoolExecutor(WORKERS) as pool:
            pending = [pool.submit(work, key) for key in itertools.islice(keys, 4 * WORKERS)]
            while pending:
                result = pending.pop(0).result()
                pending += [pool.submit(work, key) for key in itertools.islice(keys, 1)]
                yield result


def open_results(where: str | Path, *, keys: Sequence[str | Path] = (), device: str | None = None,
                 run: str | None = None, since: str = "", until: str = "", **options: Any) -> Results:
    """The results in a folder, an object store or the ingest service.

    `keys`: folders of devices, and PEM files: a recipient's private key to read with, public signing keys or an
    authority's certificate to trust. Without any those in the user's data folder are used. `since` and `until`: the
    first and the last date, like 2026-11-30 (UTC). `options`: those of `Store`; of a service `credentials`, the folder
    with a reader's certificate.

    Raises `CloudError`. Nothing is read before a method of the result is called.
    """
    return Results(open_source(where, **options), load_keyring(keys), device=device, run=run, since=since, until=until)


def open_source(where: str | Path, **options: Any) -> Source:
    """The store or service to read from. Raises `StoreError` if a folder does not exist."""
    if str(where).startswith("https://"):
        from .service_source import ServiceSource
        return ServiceSource(str(where), **options)
    from .store import Store
    if "://" not in str(where) and not Path(where).expanduser().is_dir():
        from .errors import StoreError
        raise StoreError(f"{where}: there is no such folder; give the folder or URL of a store with results")
    return Store(where, **options)


def tensor(table: "pa.Table", output: str) -> "np.ndarray":
    """An output's values of all rows of a table, as an array with one more axis in front.

    Raises `ResultsError` if the table has no such output, if a row has not kept all values, or if shapes differ.
    """
    found = flat(table)
    prefix = f"outputs.{output}"
    if f"{prefix}.values" not in found.column_names:
        names = [name.split(".")[1] for name in found.column_names if name.endswith(".values")]
        raise ResultsError(f"there is no output {output!r}; there are: {', '.join(names) or 'none'}")
    values = found[f"{prefix}.values"]
    shapes = set(map(tuple, found[f"{prefix}.shape"].drop_null().to_pylist()))
    if values.null_count or len(shapes) != 1:
        raise ResultsError(f"output {output!r} has {values.null_count} rows without all values and {len(shapes)} "
                           "different shapes; select rows with: WHERE kept = 'full'")
    numbers = values.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(values), *shapes.pop())


def flat(table: "pa.Table") -> "pa.Table":
    """The table with structs replaced by columns like `fields.label`."""
    import pyarrow as pa
    while any(pa.types.is_struct(column.type) for column in table.schema):
        table = table.flatten()
    return table


def without_empty(table: "pa.Table") -> "pa.Table":
    """The table without columns that have no value."""
    return table.select([name for name in table.column_names if table[name].null_count < len(table)])


def query(table: "pa.Table", sql: str) -> "pa.Table":
    """The answer to a question in SQL (DuckDB) about `table`, which is named `results` there."""
    import duckdb
    with contextlib.closing(duckdb.connect(config={"autoinstall_known_extensions": False,
                                                   "autoload_known_extensions": False})) as connection:
        connection.register(TABLE, _without_halves(table))
        try:
            answer = connection.sql(sql)
            if answer is None:
                raise ResultsError("the SQL is no question: give a SELECT")
            return answer.to_arrow_table()
        except duckdb.Error as error:
            raise ResultsError(f"SQL: {' '.join(str(error).split())}") from error


def export(table: "pa.Table", path: str | Path, form: str = "") -> None:
    """Write a table to a Parquet or CSV file; `form`: by default the file name's suffix."""
    form = form or Path(path).suffix.removeprefix(".").lower()
    if form == "parquet":
        import pyarrow.parquet as pq
        pq.write_table(table, path, compression="zstd")
    elif form == "csv":
        import pyarrow.csv as csv
        csv.write_csv(_printable(flat(table)), path)
    else:
        raise ResultsError(f"the form must be one of {', '.join(FORMATS)}, not {form!r}; name a file like results.csv, "
                           "or give the form")


def _agreed(tables: "list[pa.Table]") -> "list[pa.Table]":
    """The tables with one type for each field: one that is a text in some tables only becomes a JSON text in all."""
    import pyarrow as pa

    from . import body
    kinds: dict[str, set[str]] = {}
    for table in tables:
        for child in _fields(table):
            kinds.setdefault(child.name, set()).add("json" if child.metadata else str(child.type))
    numbers = {"int64", "double"}
    mixed = {name for name, found in kinds.items() if len(found) > 1 and not found <= numbers}
    agreed = []
    for table in tables:
        if mixed & {child.name for child in _fields(table)}:
            children = []
            column = table["fields"].combine_chunks()
            column = column if isinstance(column, pa.StructArray) else pa.concat_arrays(column.chunks)
            for child, values in zip(column.type, column.flatten(), strict=True):
                children.append(body.as_json(child, values) if child.name in mixed else (child, values))
            struct = pa.StructArray.from_arrays([array for _, array in children], fields=[f for f, _ in children])
            table = table.set_column(table.column_names.index("fields"), "fields", struct)
        agreed.append(table)
    return agreed


def _fields(table: "pa.Table") -> "Sequence[pa.Field]":
    return list(table.schema.field("fields").type) if "fields" in table.column_names else []


def _without_halves(table: "pa.Table") -> "pa.Table":
    """DuckDB has no 16-bit floats: they become 32-bit ones."""
    import pyarrow as pa

    def widened(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_float16(kind):
            return pa.float32()
        if pa.types.is_list(kind):
            return pa.list_(widened(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(child.name, widened(child.type)) for child in kind])
        return kind

    schema = pa.schema([pa.field(column.name, widened(column.type)) for column in table.schema])
    return table if schema == table.schema.remove_metadata() else table.cast(schema)


def _printable(table: "pa.Table") -> "pa.Table":
    """The table with lists as texts like [1, 2, 3], which CSV can have."""
    import pyarrow as pa
    for index, column in enumerate(table.schema):
        if pa.types.is_list(column.type):
            texts = pa.array([None if value is None else str(value) for value in table[index].to_pylist()], pa.string())
            table = table.set_column(index, column.name, texts)
    return table


