"""The table of results: one row a measurement, in Parquet (with replicates) and CSV (without)."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from logfm.artifacts import write_atomic
from logfm.errors import UserError

SCHEMA_VERSION = 4
"""4: column `libraries`. 3: column `clusters`. 2: columns `task_hash`, `role`, `data_role` and `hits` came in."""
PARQUET, CSV = "results.parquet", "results.csv"
OK, FAILED, NOT_APPLICABLE, NO_DATA = "ok", "failed", "not applicable", "no data"
_VERSION_KEY = b"logfm.results"
_LISTS = ("replicates", "hits")
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("run", "suite", "task", "data", "split", "condition", "metric", "direction")]
    + [(name, pa.float64()) for name in ("value", "low", "high")]
    + [("count", pa.int64()), ("clusters", pa.int64()), ("seed", pa.int64())]
    + [(name, pa.string()) for name in ("encoder", "encoder_hash", "data_hash", "task_hash")]
    + [("task_version", pa.int64()), ("logfm", pa.string()), ("libraries", pa.string()), ("seconds", pa.float64())]
    + [(name, pa.string()) for name in ("status", "note", "role", "data_role")]
    + [("replicates", pa.list_(pa.float32())), ("hits", pa.list_(pa.bool_()))]
)


@dataclass(frozen=True)
class Row:
    """One measurement, or the reason why there is none (`status` is not "ok", `value` is nan).

    `seconds` is the wall clock of the cell (one task, data set, encoder and seed) that the row came from.
    """

    suite: str
    task: str
    data: str
    metric: str
    encoder: str
    seed: int = 0
    run: str = ""
    split: str = ""
    condition: str = ""
    direction: str = "higher"
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    count: int = 0
    clusters: int = 0
    """What the interval was drawn from; 0 where nobody counted."""
    encoder_hash: str = ""
    data_hash: str = ""
    """Of the events that were read: files, specification, cap."""
    task_hash: str = ""
    """Of the task's name, version and options. Equal hashes of data and task make scores comparable."""
    task_version: int = 1
    logfm: str = ""
    libraries: str = ""
    """Releases of Python and the packages that the figure was measured with."""
    seconds: float = 0.0
    status: str = OK
    note: str = ""
    role: str = "encoder"
    """`encoder` for those that a run was asked for, `baseline` for those that its suite adds."""
    data_role: str = "results"
    """`choices` or `results`, as the data set's specification says."""
    replicates: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False)
    """Of the bootstrap, for metrics that encoders are compared on; empty where there are none."""
    hits: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_), repr=False, compare=False)


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write `results.parquet` and `results.csv`; each appears whole or not at all."""
    write_atomic(folder / PARQUET, parquet_bytes(rows))
    text = io.StringIO(newline="")
    shown = [one for one in _SCHEMA.names if one not in _LISTS]
    table = csv.writer(text, lineterminator="\n")
    table.writerow(shown)
    table.writerows([_cell(getattr(row, name)) for name in shown] for row in rows)
    write_atomic(folder / CSV, text.getvalue().encode("utf-8", "backslashreplace"))


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file."""
    # Replicates and hits can be long: a column at a time holds one copy of them.
    columns = [
        pa.array([_clean(getattr(row, name)) for row in rows], _SCHEMA.field(name).type) for name in _SCHEMA.names
    ]
    schema = _SCHEMA.with_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def read(path: Path) -> list[Row]:
    """The rows of a results folder or Parquet file; columns that an older version lacks get their defaults.

    Raises:
        UserError: no results there, a file that is no table of results, or one of a newer logfm.
    """
    file = path / PARQUET if path.is_dir() else path
    if not file.is_file():
        raise UserError("no results here (results.parquet)", path, "Give the --out folder of `logfm eval run`.")
    try:
        table = pq.read_table(file)
        version = int((table.schema.metadata or {})[_VERSION_KEY])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError("not a results file, or a damaged one", file) from error
    if version > SCHEMA_VERSION:
        raise UserError(f"these results are of a newer logfm (format {version})", file, "Update logfm.")
    known = {one.name for one in fields(Row)}
    columns = {name: _values(table[name], name) for name in table.column_names if name in known}
    try:
        return [
            Row(**{name: values[number] for name, values in columns.items() if values[number] is not None})
            for number in range(table.num_rows)
        ]
    except TypeError as error:
        raise UserError("a results file without its columns", file) from error


def _values(column: pa.ChunkedArray, name: str) -> list[Any]:
    """A column's values; those of a list column as arrays, which take a tenth of a list's memory."""
    if name not in _LISTS:
        return column.to_pylist()
    return [None if not one.is_valid else one.values.to_numpy(zero_copy_only=False) for one in column]


def documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows for JSON, without replicates and hits; figures that are not finite are None."""
    names = [name for name in _SCHEMA.names if name not in _LISTS]
    found = [{name: getattr(row, name) for name in names} for row in rows]
    return [
        {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in one.items()}
        for one in found
    ]


def _clean(value: Any) -> Any:
    # A note can quote a log line; lone surrogates have no UTF-8.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if not np.isfinite(value) else f"{value:.6g}"
    if isinstance(value, str):
        text = "".join(char if char.isprintable() else " " for char in value)
        # A spreadsheet takes such a beginning for a formula.
        return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
    return value
