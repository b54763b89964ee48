import csv
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.results import SCHEMA_VERSION, Row, documents, read, write

REPLICATES = np.array([0.5, 0.25], np.float32)
ROW = Row("quick", "search", "linux", "map", "ours", value=0.5, low=0.25, high=0.75, count=9, replicates=REPLICATES)


def v1(path, columns):
    """A table as version 1 wrote it: without `task_hash`, `role`, `data_role` and `hits`."""
    table = pa.table(columns).replace_schema_metadata({b"logfm.results": b"1"})
    pq.write_table(table, path)


def test_what_is_written_is_read(tmp_path):
    rows = [ROW, replace(ROW, encoder="other", hits=np.array([True, False]), value=float("nan"), note="a\ud800b")]
    write(rows, tmp_path)
    back = read(tmp_path)
    assert back[0] == ROW
    assert back[0].replicates.tolist() == [0.5, 0.25] and back[0].replicates.dtype == np.float32
    assert (back[1].hits.tolist(), back[1].note) == ([True, False], "a\\ud800b")
    assert back[1].value != back[1].value
    assert pq.read_schema(tmp_path / "results.parquet").field("replicates").type == pa.list_(pa.float32())
    assert read(tmp_path / "results.parquet")[0] == ROW


def test_csv_has_no_replicates_and_no_formulas(tmp_path):
    write([replace(ROW, encoder='=HYPERLINK("x")', note="two\nlines"), replace(ROW, value=float("nan"))], tmp_path)
    with (tmp_path / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["encoder"] == '\'=HYPERLINK("x")'
    assert rows[0]["note"] == "two lines"
    assert (rows[0]["value"], rows[1]["value"]) == ("0.5", "")
    assert not {"replicates", "hits"} & set(rows[0])


def test_an_older_version_loads(tmp_path):
    v1(
        tmp_path / "results.parquet",
        {"run": ["r"], "suite": ["quick"], "task": ["search"], "data": ["linux"], "split": ["test"],
         "condition": [""], "metric": ["map"], "direction": ["higher"], "value": [0.5], "low": [0.25], "high": [0.75],
         "count": [9], "seed": [0], "encoder": ["ours"], "encoder_hash": ["abc"], "data_hash": ["def"],
         "task_version": [1], "logfm": ["0.1"], "seconds": [1.5], "status": ["ok"], "note": [""],
         "replicates": pa.array([[0.5, 0.25]], pa.list_(pa.float32()))},
    )  # fmt: skip
    row = read(tmp_path)[0]
    assert (row.value, row.replicates.tolist(), row.task_hash, row.role, row.data_role, row.hits.tolist()) == (
        0.5, [0.5, 0.25], "", "encoder", "results", [],
    )  # fmt: skip


def test_a_newer_version_is_refused(tmp_path):
    table = pa.table({"task": ["x"]}).replace_schema_metadata({b"logfm.results": str(SCHEMA_VERSION + 1).encode()})
    pq.write_table(table, tmp_path / "results.parquet")
    with pytest.raises(UserError, match="newer logfm"):
        read(tmp_path)


def test_what_is_no_result(tmp_path):
    with pytest.raises(UserError, match="no results here"):
        read(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="not a results file"):
        read(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "results.parquet")
    with pytest.raises(UserError, match="not a results file"):
        read(tmp_path)
    v1(tmp_path / "results.parquet", {"task": ["search"]})
    with pytest.raises(UserError, match="without its columns"):
        read(tmp_path)


def test_json_has_no_nan():
    document = documents([replace(ROW, value=float("nan"))])[0]
    assert document["value"] is None
    assert "replicates" not in document
