"""Labels of events and of sequences: from the events, from a table beside them, or of whole groups."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from logfm.configs.schema.finetune import FinetuneDataConfig, GroupLabelsConfig
from logfm.corpus.labels import is_attack, read_labels
from logfm.errors import UserError
from logfm.finetune.cutting import Cuts
from logfm.finetune.judging import Labels

NORMAL, ATTACK = "normal", "attack"
UNKNOWN = -1


def event_labels(events: pa.Table, table: Path | None) -> list[str | None]:
    """The label of each event: that of a table, by event_id, else its own; None where there is none.

    Raises:
        UserError: the table cannot be read, has no labels, or none of these events.
    """
    own: list[str | None] = events["label"].to_pylist() if "label" in events.column_names else [None] * events.num_rows
    if table is None:
        return own
    found = read_labels(table)
    if "label" not in found.column_names:
        raise UserError("no column label", table)
    known = dict(zip(found["event_id"].to_pylist(), found["label"].to_pylist(), strict=True))
    given = [known.get(one) for one in events["event_id"].to_pylist()]
    if events.num_rows and not any(one is not None for one in given):
        raise UserError(
            "the table labels none of these events",
            table,
            "Its event_id, or file and offset, must be those of the same INPUT folder.",
        )
    return [mine if one is None else one for one, mine in zip(given, own, strict=True)]


def group_labels(config: GroupLabelsConfig) -> dict[str, str]:
    """The label of each group.

    Raises:
        UserError: the table cannot be read or lacks a column.
    """
    path = config.path
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    except FileNotFoundError:
        raise UserError("no such file", path) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"not a table ({str(error).splitlines()[0]})", path, "Give Parquet or CSV.") from error
    for name in (config.group, config.label):
        if name not in table.column_names:
            raise UserError(f"no column {name}", path, f"It has {', '.join(table.column_names)}.")
    pairs = zip(table[config.group].to_pylist(), table[config.label].to_pylist(), strict=True)
    return {str(group): str(label) for group, label in pairs if group is not None and label is not None}


def sequence_labels(cuts: Cuts, events: Sequence[str | None], groups: dict[str, str] | None) -> list[str | None]:
    """The label of each sequence: its group's, else that of most of its attack events, else normal; None if no event
    has one.
    """
    if groups is not None:
        return [groups.get(group) for group in cuts.groups]
    return [_of_events([events[row] for row in rows.tolist()]) for rows in cuts.rows]


def _of_events(labels: Sequence[str | None]) -> str | None:
    known = [one for one in labels if one is not None]
    attacks = Counter(one for one in known if is_attack(one))
    if attacks:
        return min(attacks, key=lambda one: (-attacks[one], one))
    return NORMAL if known else None


def class_names(labels: Sequence[str | None], target: str) -> tuple[str, ...]:
    """The classes that labels tell apart, what is normal first.

    Raises:
        UserError: no labels, or one class only.
    """
    known = {one for one in labels if one is not None}
    if not known:
        raise UserError("the data holds no labels", fix="Give data.labels or data.group_labels.")
    attacks = sorted({one for one in known if is_attack(one)})
    normal = any(not is_attack(one) for one in known)
    if target == "classes":
        names = ((NORMAL,) if normal else ()) + tuple(attacks)
    else:
        names = ((NORMAL,) if normal else ()) + ((ATTACK,) if attacks else ())
    if len(names) < 2:
        raise UserError("the training data holds one class only", ", ".join(names), "Give labelled sequences of two.")
    return names


def numbers(labels: Sequence[str | None], names: tuple[str, ...], data: FinetuneDataConfig, where: str) -> Labels:
    """The class of each sequence, int64 (sequences,), UNKNOWN without a label.

    Raises:
        UserError: a label that no training sequence has.
    """
    places = {name: number for number, name in enumerate(names)}
    found = np.full(len(labels), UNKNOWN, dtype=np.int64)
    for row, label in enumerate(labels):
        if label is None:
            continue
        name = NORMAL if not is_attack(label) else ATTACK if data.target == "binary" else label
        if name not in places:
            raise UserError(
                f"the {where} data has a label that no training sequence has",
                name,
                "Take another data.split, or data.target: binary.",
            )
        found[row] = places[name]
    return found
