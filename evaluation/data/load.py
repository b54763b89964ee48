"""From a spec to data in memory: read, stripped of labels, capped, hashed."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from logfm.artifacts import digest, file_hash
from logfm.configs.schema.anomaly import UnitConfig
from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError
from logfm.evaluation.data.find import parts_of, place_of
from logfm.evaluation.data.readers import reader
from logfm.evaluation.data.rows import OPTIONS, Place, Row, option
from logfm.evaluation.suite.task import Data

_Value = TypeVar("_Value")
# Goes up when a reader makes other rows of the same files.
_VERSION = 1


def load(spec: DataSpec, folder: str | Path | None = None, rows: int | None = None) -> Data:
    """Read a data set from the data folder; at most `rows` events (a suite that caps gives the spec's `most_rows`).

    `spec.cap` says which events are kept: the first ones, a random draw that depends on the spec's name alone, or
    whole groups drawn so. Labels have no part in it.

    Raises:
        UserError: not at hand, nothing to read, a file of another layout, or a name in `drop` that no event has.
    """
    _check_options(spec)
    place = place_of(spec, None if folder is None else Path(folder), rows)
    if place is None:
        raise UserError(f"the data set {spec.name} is not at hand", spec.path, "Give its folder with --data.")
    left_out: Counter[str] = Counter()
    kept = _capped(_counted(reader(spec.reader)(spec, place), left_out), spec, place, left_out)
    if any(row.label is not None for row in kept):
        left_out["no label"] += sum(row.label is None for row in kept)
        kept = [row for row in kept if row.label is not None]
    if not kept:
        raise UserError("the data set has no events", spec.name, "See its path and options.")
    if option(spec, "templates") == "drain":
        from logfm.evaluation.templates import template_labels

        found = template_labels([row.text for row in kept])
        kept = [row._replace(template=name) for row, name in zip(kept, found, strict=True)]
    return Data(
        spec=spec,
        hash=data_hash(spec, place),
        texts=[row.text for row in kept],
        templates=_column(kept, lambda row: row.template, ""),
        labels=_array(_column(kept, lambda row: row.label, 0), np.int8),
        groups=_column(kept, lambda row: row.group, ""),
        times=_array(_column(kept, lambda row: row.time, float("nan")), np.float64),
        sources=_column(kept, lambda row: row.source, ""),
        records=_column(kept, lambda row: row.record, {}),
        queries=_column(kept, lambda row: row.query, ""),
        classes=_column(kept, lambda row: row.kind, ""),
        left_out={reason: count for reason, count in left_out.items() if count},
        folder=place.folder,
    )


def _check_options(spec: DataSpec) -> None:
    """A misspelt option must not be passed over: it could name the label."""
    known = OPTIONS | set(UnitConfig.model_fields)
    unknown = sorted(set(spec.options) - known)
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
        raise UserError(f"unknown option {unknown[0]}", spec.name, hint)


def data_hash(spec: DataSpec, place: Place) -> str:
    """Hash of the spec, of the files and of the most rows; of the parts for a mixture."""
    parts = parts_of(spec, place.folder)
    inside = {part.name: data_hash(part, found) for part in parts if (found := place_of(part, place.folder))}
    # Detection rules, which are a baseline, may come later than the events.
    given = place.folder / str(option(spec, "rules", ""))
    rules = sorted(path for path in (given.rglob("*") if option(spec, "rules", "") else ()) if path.is_file())
    rules += [given] if given.is_file() else []
    beside = (*place.files, *place.beside, *rules)
    files = {path.relative_to(place.folder).as_posix(): file_hash(path) for path in beside}
    return digest({"version": _VERSION, "spec": spec.dump(), "files": files, "parts": inside, "rows": place.most})


def _counted(found: Iterator[Row | str], left_out: Counter[str]) -> Iterator[Row]:
    for one in found:
        if isinstance(one, str):
            left_out[one] += 1
        else:
            yield one


def _capped(found: Iterator[Row], spec: DataSpec, place: Place, left_out: Counter[str]) -> list[Row]:
    most = place.most
    if most is not None and spec.cap == "head":
        kept = list(islice(found, most))
        if next(found, None) is not None:
            left_out[f"or more behind the first {most}"] += 1
            # A misspelt name must not pass because the end of the file, where its absence shows, is never read.
            while place.unseen and next(found, None) is not None:
                pass
        return kept
    rows = list(found)
    if most is None or len(rows) <= most:
        return rows
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(spec.name.encode()).digest()[:8], "little"))
    if spec.cap == "groups" and rows[0].group is not None:
        chosen = _whole_groups([row.group or "" for row in rows], most, rng)
    else:
        chosen = np.sort(rng.choice(len(rows), size=most, replace=False)).tolist()
    left_out[f"above the cap of {most}"] += len(rows) - len(chosen)
    return [rows[row] for row in chosen]


def _whole_groups(groups: list[str], most: int, rng: np.random.Generator) -> list[int]:
    """Rows of randomly drawn groups that fit together; the first drawn is cut where it alone is too large."""
    sizes = Counter(groups)
    names = sorted(sizes)
    drawn = [names[number] for number in rng.permutation(len(names)).tolist()]
    chosen = {drawn[0]}
    room = most - sizes[drawn[0]]
    for name in drawn[1:]:
        if sizes[name] > room:
            break
        chosen.add(name)
        room -= sizes[name]
    return [row for row, name in enumerate(groups) if name in chosen][:most]


def _column(rows: list[Row], value: Callable[[Row], _Value | None], missing: _Value) -> list[_Value] | None:
    """A column with its gaps filled, or None where no row has it."""
    found = [value(row) for row in rows]
    if all(one is None for one in found):
        return None
    return [missing if one is None else one for one in found]


def _array(values: list[Any] | None, dtype: Any) -> Any:
    return None if values is None else np.asarray(values, dtype=dtype)
