"""What labels mean, and labels from a table beside the logs."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from logfm.corpus.events import SCHEMA
from logfm.corpus.shards import rewriting
from logfm.errors import UserError

# What data sets write for "no attack"; every other label is one. None is "not known".
NORMAL = frozenset(("normal", "benign", "-", "0", "false", "none", "false_positive"))
# Labels that say "attack" without saying which.
GENERIC = frozenset(("attack", "malicious", "anomaly", "abnormal", "1", "true", "true_positive", "incident"))
COLUMNS = ("label", "techniques", "session_id")


def is_attack(label: str) -> bool:
    """Whether a label says that an event belongs to an attack or another anomaly."""
    return label.lower() not in NORMAL


def read_labels(path: Path) -> pa.Table:
    """A table of labels, Parquet or CSV: `event_id` or (`file`, `offset`), and any of label, techniques, session_id.

    `file` is the name relative to the input. In a CSV, techniques are separated by spaces. Where there is a column
    `scenario` and it names one, that is the label, so that a split can keep scenarios apart.

    Raises:
        UserError: the file cannot be read, or lacks the columns.
    """
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    except FileNotFoundError:
        raise UserError("no such file", path) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(
            f"not a table of labels ({str(error).splitlines()[0]})", path, "Give Parquet or CSV."
        ) from error
    if "event_id" not in table.column_names:
        if not {"file", "offset"} <= set(table.column_names):
            raise UserError("no column event_id, nor file and offset", path)
        from logfm.corpus.events import event_id

        places = zip(table["file"].to_pylist(), table["offset"].to_pylist(), strict=True)
        table = table.append_column("event_id", pa.array([event_id(file, offset) for file, offset in places]))
    if {"scenario", "label"} <= set(table.column_names):
        named = pc.coalesce(table["scenario"], table["label"])
        table = table.set_column(table.column_names.index("label"), "label", named)
    found = [name for name in COLUMNS if name in table.column_names]
    if not found:
        raise UserError(f"no column of {', '.join(COLUMNS)}", path)
    if "techniques" in found and pa.types.is_string(table["techniques"].type):
        place = table.column_names.index("techniques")
        table = table.set_column(place, "techniques", pc.utf8_split_whitespace(table["techniques"]))
    try:
        columns = {name: table[name].cast(SCHEMA.field(name).type) for name in ("event_id", *found)}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"a column of the wrong kind ({str(error).splitlines()[0]})", path) from error
    return pa.table(columns).combine_chunks()


def apply_labels(shards: list[Path], labels: pa.Table) -> int:
    """Write the labels into the events of the shards; returns how many events had one."""
    matched = 0
    for shard in shards:
        with rewriting(shard) as (batches, writer):
            for batch in batches:
                places = pc.index_in(batch.column("event_id"), value_set=labels["event_id"])
                matched += batch.num_rows - places.null_count
                for name in labels.column_names[1:]:
                    value = labels[name].combine_chunks().take(places)
                    batch = batch.set_column(
                        batch.schema.get_field_index(name), SCHEMA.field(name), pc.coalesce(value, batch.column(name))
                    )
                writer.write_batch(batch)
    return matched


def labelled_events(shards: list[Path]) -> int:
    """How many events of the shards have a label."""
    return sum(
        len(column) - column.null_count for column in (pq.read_table(one, columns=["label"])[0] for one in shards)
    )
