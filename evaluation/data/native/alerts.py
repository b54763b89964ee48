"""Alerts of intrusion detection systems in the AIT's tables."""

from collections.abc import Iterator
from pathlib import Path

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.data.rows import Place, Row, as_text, dropped, option, seconds, stripped, table

_COLUMNS = ("time", "name", "ip", "host", "time_label", "event_label")
_NORMAL = {"event_label": "-", "time_label": "false_positive"}


def ait_alerts(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """The alerts of each testbed in order of time, `group` the testbed.

    `options.label` says which column makes an attack: `event_label` (set per event) or `time_label` (the phase whose
    window the alert falls into). With `options.collapse` seconds, alerts that are equal but for their time and lie in
    one such period become one, which is an attack where any of them is: a scanner's 400,000 equal alerts would be
    nearly all there is.
    """
    for path in place.files:
        yield from _testbed(spec, path)


def _testbed(spec: DataSpec, path: Path) -> Iterator[Row | str]:
    column = option(spec, "label", "event_label")
    period = float(option(spec, "collapse", "0"))
    drop = dropped(spec) | {"time_label", "event_label"}
    kept: dict[tuple[object, ...], Row] = {}
    repeated = 0
    for number, columns in enumerate(table(path, [*_COLUMNS, *spec.drop])):
        moment, label = seconds(columns["time"]), columns[column]
        if moment is None:
            yield "no time"
            continue
        key = (moment // period, columns["name"], columns["ip"], columns["host"]) if period else (number,)
        attack = int(label != _NORMAL[column])
        if (known := kept.get(key)) is not None:
            repeated += 1
            if attack and not known.label:
                kept[key] = known._replace(label=1, kind=label)
            continue
        record = stripped(columns, drop)
        kept[key] = Row(
            text=as_text(record),
            template=columns["name"],
            label=attack,
            group=path.name.split("_")[0],
            time=moment,
            source=columns["name"].split(":")[0],
            record=record,
            kind=label if attack else "",
        )
    yield from sorted(kept.values(), key=lambda row: row.time or 0.0)
    yield from (f"equal to another within {period:g} s" for _ in range(repeated))
