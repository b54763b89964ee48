"""The results of `logfm eval run` as tables of a model card: a table a task, encoders beside their baselines."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from logfm.errors import UserError

_SHOWN = {
    "similarity": ("pair_auc", "diff"),
    "search": ("map",),
    "subsampling": ("entities", "levenshtein"),
    "lastlayer": ("f1",),
    "leaky": ("f1",),
    "prevalence": ("f1",),
}
"""Metrics of a task where they are others than its first that has a direction: what leads, and what papers report."""
_CONDITION = {"prevalence": "20 %", "leaky": "honest"}
"""The condition of a task that leads, where it is another than ""."""
_ENCODER, _CHOICES = "encoder", "choices"


@dataclass
class _Task:
    """Scores of one task by metric, data set, condition and encoder, a value a seed."""

    metrics: dict[str, str] = field(default_factory=dict)
    """Direction of each."""
    data: dict[str, str] = field(default_factory=dict)
    """Role of each."""
    scores: dict[tuple[str, str, str], dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )


def results_table(path: Path, name: str | None = None) -> str:
    """Markdown of a results.csv. Of the encoders that were asked for `name` alone is shown, if it is one of them.

    Raises:
        UserError: no such results, or none in it.
    """
    tasks: dict[str, _Task] = defaultdict(_Task)
    roles: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                leads = row["metric"] in _SHOWN[row["task"]] if row["task"] in _SHOWN else row["direction"] != "neither"
                # A ratio without a meaning, as the precision of no alarm, has no value.
                if row["status"] != "ok" or not leads or not row["value"]:
                    continue
                task = tasks[row["task"]]
                task.metrics.setdefault(row["metric"], row["direction"])
                task.data.setdefault(row["data"], row.get("data_role", ""))
                roles.setdefault(row["encoder"], row.get("role", ""))
                key = row["metric"], row["data"], row["condition"]
                task.scores[key][row["encoder"]].append(float(row["value"]))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        fix = "Give the results.csv of `logfm eval run`."
        raise UserError(f"cannot read the results ({error})", path, fix) from error
    if not tasks:
        raise UserError("the results hold no measurement", path)
    # Those that were asked for stand before the baselines that a suite adds.
    encoders = sorted(roles, key=lambda one: roles[one] != _ENCODER)
    if roles.get(name or "") == _ENCODER:
        encoders = [one for one in encoders if one == name or roles[one] != _ENCODER]
    parts = [
        "Measured by `logfm eval run`; means over seeds. Intervals and paired differences are in its report. Data sets "
        "marked * were looked at while choices were made.",
        *(_section(name, task, encoders) for name, task in tasks.items()),
    ]
    return "\n\n".join(parts)


def _section(name: str, task: _Task, encoders: Sequence[str]) -> str:
    parts = [f"### {name}"]
    for metric in [one for one in _SHOWN.get(name, (next(iter(task.metrics)),)) if one in task.metrics]:
        found = {key[1:]: cells for key, cells in task.scores.items() if key[0] == metric}
        usual = {key: cells for key, cells in found.items() if key[1] == _CONDITION.get(name, "")}
        chosen = usual or found
        shown = [one for one in encoders if any(one in cells for cells in chosen.values())]
        rows = [_row(_label(data, condition, task), cells, shown) for (data, condition), cells in chosen.items()]
        rows += _means(task, chosen, shown)
        better = {"lower": " (lower is better)", "higher": " (higher is better)"}.get(task.metrics[metric], "")
        parts.append(table((f"{metric}{better}", *shown), rows))
    return "\n\n".join(parts)


def _label(data: str, condition: str, task: _Task) -> str:
    mark = "*" if task.data[data] == _CHOICES else ""
    return f"{data}{mark}, {condition}" if condition else data + mark


def _row(label: str, cells: Mapping[str, Sequence[float]], shown: Sequence[str]) -> tuple[str, ...]:
    return label, *(_number(fmean(cells[name])) if cells.get(name) else "" for name in shown)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def _means(
    task: _Task, chosen: Mapping[tuple[str, str], Mapping[str, Sequence[float]]], shown: Sequence[str]
) -> list[tuple[str, ...]]:
    """The mean over data sets that were not looked at, of those encoders that have them all."""
    fresh = [cells for (data, _), cells in chosen.items() if task.data[data] != _CHOICES]
    if len(fresh) < 2:
        return []
    whole = {name: [fmean(cells[name]) for cells in fresh] for name in shown if all(name in cells for cells in fresh)}
    return [_row("**mean, without ***", whole, shown)] if whole else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines)
