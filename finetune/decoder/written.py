"""Predictions as a table: what the model wrote, whatever it is, beside the truth."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.generating import Prediction

SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("group", pa.string()),
        ("source", pa.string()),
        ("event_ids", pa.list_(pa.string())),
        ("truth", pa.string()),
        ("raw", pa.string()),
        ("answer", pa.string()),
        ("logprobs", pa.string()),
        ("cut", pa.int32()),
    ]
)
"""`truth`, `answer` and `logprobs` are JSON; `answer` is null where nothing was decoded under the grammar."""


def write_predictions(predictions: Sequence[Prediction], cases: Sequence[Case], path: Path) -> None:
    """Write a row a case, Parquet."""
    rows = [
        {
            "case_id": case.case_id,
            "group": case.group,
            "source": case.source,
            "event_ids": list(case.event_ids),
            "truth": _json(case.answer),
            "raw": one.raw,
            "answer": None if one.answer is None else _json(one.answer),
            "logprobs": _json(one.logprobs),
            "cut": one.cut,
        }
        for one, case in zip(predictions, cases, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)


def _json(document: object) -> str:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()
