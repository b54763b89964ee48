"""Sigma rules as a detector: written by people, fitted on nothing. Only for events of a source that rules know."""

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from logfm.evaluation.anomaly.windows import Sequences
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import Data

_LEVELS = {"informational": 0.25, "low": 1.0, "medium": 2.0, "high": 4.0, "critical": 8.0}
# Names that data sets give to sources -> those that the rules' runner knows.
_SOURCES = {
    "aws.cloudtrail": "cloudtrail",
    "okta.systemlog": "okta",
    "gcp.auditlog": "gcp",
    "microsoft365.audit": "o365",
    "onepassword": "onepassword",
    "amazon.eks.audit": "kubernetes",
    "gcp.gke.audit": "kubernetes",
    "atlassian.audit": "bitbucket",
}


def sigma_scores(data: Data, rules: Path) -> tuple[Floats, int]:
    """Weight of the rules that fired on each event (higher levels weigh more), and how many events rules are for.

    float64 (events,). Events without structured fields meet rules over their text.

    Raises:
        UserError: no rules there, or the extra `rules` is missing.
    """
    from logfm.corpus.rules import HITS, Counts, fired, load_rules

    counts = Counts()
    scores = np.zeros(len(data.texts))
    level, event = HITS.get_field_index("level"), HITS.get_field_index("event_id")
    for hits in fired([_batch(data)], load_rules(rules), counts=counts):
        for one, row in zip(hits.column(level).to_pylist(), hits.column(event).to_pylist(), strict=True):
            scores[int(row)] += _LEVELS.get(one, 1.0)
    return scores, counts.covered


def by_sequence(sequences: Sequences, scores: Floats) -> Floats:
    """The highest weight of a sequence's events, float64 (sequences,)."""
    return np.array([scores[rows].max() for rows in sequences.rows])


def _batch(data: Data) -> pa.RecordBatch:
    records = data.records or [{} for _ in data.texts]
    sources = data.sources or [data.spec.name for _ in data.texts]
    columns = {
        "event_id": pa.array([str(row) for row in range(len(data.texts))], pa.string()),
        "text": pa.array([text.encode("utf-8", "backslashreplace").decode() for text in data.texts], pa.string()),
        "source": pa.array([_SOURCES.get(source.lower(), source.lower()) for source in sources], pa.string()),
        "log_type": pa.array([_text(record.get("log_type")) for record in records], pa.string()),
        "fields": pa.array([_fields(record) for record in records], pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


def _fields(record: dict[str, object]) -> str | None:
    return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode() if record else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
