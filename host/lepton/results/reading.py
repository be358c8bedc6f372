"""Reads results back: `lepton.results.open(store).table()`.

    results = lepton.results.open("s3://bucket/prefix", keys=["reader.pem", "authority.pem"])
    results.runs()                                # what there is; needs no secret key
    results.query("SELECT fields.label, count(*) FROM results GROUP BY ALL").to_pandas()
    values = lepton.results.tensor(results.table(), "classifier")

Everything is checked before it is used: digest, signature, and header against body. Columns are described in `body`.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from . import grants, tables
from . import segment as segments
from .errors import ResultsError
from .keyring import Keyring
from .keyring_files import load_keyring

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from cryptography.hazmat.primitives.asymmetric import ec

    from .body import Body

WORKERS = 4  # threads that read, decrypt and unpack; most of it releases Python's lock

CACHE_BYTES = 64 << 20  # of packed bodies, which `query` keeps for the next question: 10 million results of 6 bytes
KEY_BYTES = 250  # of a key in memory

_Out = TypeVar("_Out")


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
        self._cache: dict[str, Body | None] = {}  # of keys, whose objects never change; None: not selected
        self._cached_bytes = 0

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
        return self._concatenated(tables.agreed(list(self._opened())))

    def _concatenated(self, parts: "list[pa.Table]") -> "pa.Table":
        import pyarrow as pa
        if not parts:
            raise ResultsError(f"{self._source.where} has no results{self._selection()}; `lepton results list` shows "
                               "what there is")
        try:
            return pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:
            raise ResultsError(f"the results of {self._source.where} do not fit one table ({error}); select a run"
                               ) from error

    def pandas(self) -> "pd.DataFrame":
        """`table` as a data frame, with columns like `fields.label` and `outputs.classifier.values`."""
        return tables.flat(self.table()).to_pandas()

    def records(self) -> Iterator[dict[str, Any]]:
        """The results as dicts, outputs as a list of dicts with numpy arrays."""
        from . import body
        for table in self._opened():
            yield from body.records(table)

    def query(self, sql: str) -> "pa.Table":
        """The answer to a question in SQL (DuckDB) about the table `results`.

        Only the columns that the question needs are unpacked, if all segments have the same ones. Further questions
        read only segments that are new, up to `CACHE_BYTES`.
        """
        bodies = list(self._bodies())
        if not bodies or any(body.schema != bodies[0].schema for body in bodies):
            return tables.query(self.table(), sql)

        def read(columns: list[str] | None) -> "pa.Table":
            with ThreadPoolExecutor(WORKERS) as pool:
                return self._concatenated(list(pool.map(lambda body: body.read(columns), bodies)))

        return tables.query_columns(bodies[0].schema, read, sql)

    def grant(self, recipient: "ec.EllipticCurvePublicKey") -> tuple[bytes, int]:
        """The data keys of the segments, wrapped for a further recipient (`grants`), and their number."""
        def load(key: str) -> tuple[str, bytes] | None:
            segment = self._wanted(key)
            return None if segment is None else (segment.digest, grants.data_key(segment, self._keyring))

        keys = dict(found for found in self._map(load) if found is not None)
        if not keys:
            raise ResultsError(f"{self._source.where} has no results{self._selection()} to grant")
        return grants.make(keys, recipient), len(keys)

    def export(self, path: str | Path, form: str = "") -> int:
        """Write all results to a Parquet or CSV file, by the file's name or `form`; returns their number."""
        table = self.table()
        tables.export(table, path, form)
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
            segment = self._wanted(key)
            return None if segment is None else segment.table(self._keyring)

        return (table for table in self._map(load) if table is not None)

    def _bodies(self) -> "Iterator[Body]":
        def load(key: str) -> "Body | None":
            if key not in self._cache:
                segment = self._wanted(key)
                body = None if segment is None else segment.body(self._keyring)
                if self._cached_bytes < CACHE_BYTES:
                    self._cache[key] = body
                    self._cached_bytes += KEY_BYTES if body is None else body.bytes
                return body
            return self._cache[key]

        return (body for body in self._map(load) if body is not None)

    def _wanted(self, key: str) -> segments.Segment | None:
        """A segment of the selected run; None for others and for those without records."""
        segment = segments.parse(self._source.get(key), key)
        return segment if segment.header.records and self._run in (None, segment.header.run) else None

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
