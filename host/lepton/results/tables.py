"""Results as tables: an output as one array, columns without structs, answers to SQL, and export to files.

pyarrow and DuckDB are imported by the functions that need them.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ResultsError

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa

TABLE = "results"  # its name in SQL
FORMATS = ("parquet", "csv")


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
    with _connected() as connection:
        return _answer(connection, table, sql)


def query_columns(schema: "pa.Schema", read: "Callable[[list[str] | None], pa.Table]", sql: str) -> "pa.Table":
    """`query` about a table of a schema, of which `read` gets the columns that the question needs; None means all."""
    with _connected() as connection:
        connection.register(TABLE, _without_halves(schema.empty_table()))
        columns = _needed(connection, schema.names, sql)
        if columns is not None:
            with contextlib.suppress(ResultsError):  # it may need others all the same
                return _answer(connection, read(columns), sql)
        return _answer(connection, read(None), sql)


def _answer(connection: "duckdb.DuckDBPyConnection", table: "pa.Table", sql: str) -> "pa.Table":
    import duckdb
    connection.register(TABLE, _without_halves(table))
    try:
        answer = connection.sql(sql)
        if answer is None:
            raise ResultsError("the SQL is no question: give a SELECT")
        return answer.to_arrow_table()
    except duckdb.Error as error:
        raise ResultsError(f"SQL: {' '.join(str(error).split())}") from error


def _needed(connection: "duckdb.DuckDBPyConnection", names: list[str], sql: str) -> list[str] | None:
    """The columns that DuckDB's plan of a question has; None if that does not tell."""
    import duckdb
    with contextlib.suppress(duckdb.Error, LookupError, ValueError):
        scans: list[dict[str, Any]] = []
        waiting = list(json.loads(connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1]))
        while waiting:
            node = waiting.pop()
            waiting += node["children"]
            if not node["children"]:
                scans.append(node["extra_info"])
        if scans and all(scan.get("Function") == "PYTHON_ARROW_SCAN" for scan in scans):
            text = json.dumps(scans) + sql  # the question may name columns that its plan does not read
            return [name for name in names if re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE)]
    return None


@contextlib.contextmanager
def _connected() -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb
    with contextlib.closing(duckdb.connect(config={"autoinstall_known_extensions": False,
                                                   "autoload_known_extensions": False})) as connection:
        yield connection


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


def agreed(tables: "list[pa.Table]") -> "list[pa.Table]":
    """The tables with one type for each field: one that is a text in some tables only becomes a JSON text in all."""
    import pyarrow as pa

    from . import columns
    kinds: dict[str, set[str]] = {}
    for table in tables:
        for child in _fields(table):
            kinds.setdefault(child.name, set()).add("json" if child.metadata else str(child.type))
    numbers = {"int64", "double"}
    mixed = {name for name, found in kinds.items() if len(found) > 1 and not found <= numbers}
    agreeing = []
    for table in tables:
        if mixed & {child.name for child in _fields(table)}:
            children = []
            column = table["fields"].combine_chunks()
            column = column if isinstance(column, pa.StructArray) else pa.concat_arrays(column.chunks)
            for child, values in zip(column.type, column.flatten(), strict=True):
                children.append(columns.as_json(child, values) if child.name in mixed else (child, values))
            struct = pa.StructArray.from_arrays([array for _, array in children], fields=[f for f, _ in children])
            table = table.set_column(table.column_names.index("fields"), "fields", struct)
        agreeing.append(table)
    return agreeing


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
