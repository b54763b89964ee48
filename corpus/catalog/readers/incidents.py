"""Alerts and signals of security operations: GUIDE and WitFoo Precinct6."""

import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Layout, Treatment, label_of, nothing, seconds, skipping, take, techniques_in
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf, text_of
from logfm.corpus.readers.registry import Format

_ROWS = 4096
# What customers decided (the grade, the action taken) and how the benchmark is split.
_GUIDE = ("incidentgrade", "actiongrouped", "actiongranular", "mitretechniques", "usage")
# `benign` for a benign positive: true activity, but no attack.
_GRADES = {"truepositive": "true_positive", "benignpositive": "benign", "falsepositive": "false_positive"}
_WITFOO = (
    "label_binary", "label_confidence", "attack_techniques", "attack_tactics", "defense_techniques", "mo_name",
    "suspicion_score", "lifecycle_stage", "disposition", "disposition_category", "is_false_positive", "status_name",
    "incident_ids", "matched_rules", "set_roles",
)  # fmt: skip


def guide(copy: Copy) -> Layout:
    """GUIDE: a row a piece of evidence; `IncidentGrade` holds for the incident, which is the session."""

    def edit(event: Event) -> Event:
        found = take(event, _GUIDE)
        grade = str(found.get("incidentgrade", "")).strip()
        event.label = _GRADES.get(grade.lower(), grade or None)
        event.techniques = techniques_in(found.get("mitretechniques", ""))
        record = orjson.loads(event.text)
        event.session_id = f"{record['OrgId']}/{record['IncidentId']}"
        event.host, event.user = text_of(record.get("DeviceName")), text_of(record.get("AccountName"))
        event.log_type = text_of(record.get("EntityType"))
        return event

    return Layout(nothing, lambda leaf, path: Treatment(edit if ".csv" in path.lower() else None))


def witfoo(copy: Copy) -> Layout:
    """WitFoo Precinct6: `signals/*.parquet`, a row an event; graphs and reports beside it repeat the labels."""

    def open(leaf: Leaf, path: str) -> Treatment:
        return Treatment(_signal, _PARQUET if leaf.head.startswith(b"PAR1") else None)

    skip = skipping(r"(?:^|/)(?:graph|reference)/|\.graphml$|(?:incidents|nodes|edges|attack_reports)\.jsonl$",
                    "graphs and reports made from the events")  # fmt: skip
    return Layout(skip, open)


def _signal(event: Event) -> Event:
    found = take(event, _WITFOO)
    record = orjson.loads(event.text)
    event.label = label_of(found.get("label_binary"))
    event.techniques = techniques_in(found.get("attack_techniques", ""))
    incidents = _listed(found.get("incident_ids"))
    event.session_id = incidents[0] if incidents else None
    event.timestamp = seconds(record.get("timestamp"))
    event.host = text_of(record.get("src_host")) or text_of(record.get("src_ip"))
    event.user, event.log_type = text_of(record.get("username")), text_of(record.get("message_type"))
    return event


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        value = orjson.loads(value or "[]")
    return [str(one) for one in value] if isinstance(value, list) else []


def _read_parquet(leaf: Leaf) -> Iterator[Event]:
    """A row an event, its text the row as JSON without empty columns; `offset` is the row's number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as spool:
        for chunk in leaf.stream.chunks():
            spool.write(chunk)
        try:
            number = 0
            for batch in pq.ParquetFile(spool).iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    record = {name: value for name, value in row.items() if value not in (None, "")}
                    yield leaf.event(number, orjson.dumps(record, default=str).decode())
                    number += 1
        except (pa.ArrowException, OSError) as error:
            leaf.reject(0, f"damaged Parquet file ({str(error).splitlines()[0][:100]})")


_PARQUET = Format("parquet", lambda leaf: "a Parquet file", _read_parquet)
