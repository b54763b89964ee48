"""The data sets of the Austrian Institute of Technology: logs with labelled lines, and alerts on them."""

import csv
import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Treatment, record_of, take
from logfm.corpus.catalog.line_numbers import LabelledLines
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf, text_of
from logfm.errors import UserError

_NO_LOGS = re.compile(
    r"^(?:[^/]+/){0,2}(?:labels|rules|processing|environment)/|(?:^|/)dataset\.ya?ml$"
    r"|(?:^|/)gather/[^/]+/(?:facts\.json$|configs/)"
)
_GATHERED = re.compile(r"(^|/)gather/")


def ait_lds(copy: Copy) -> Layout:
    """AIT-LDS v2: `labels/HOST/logs/FILE` names lines of `gather/HOST/logs/FILE`, one JSON object a line.

    A line that a label file does not name is normal; a file that has none is of unknown kind.
    """

    def skip(path: str) -> str | None:
        return "labels, rules or settings of the test bed" if _NO_LOGS.search(path) else None

    def open(leaf: Leaf, path: str) -> Treatment:
        beside = _GATHERED.sub(r"\1labels/", path, count=1)
        if beside == path or not copy.has(beside):
            return Treatment()
        lines = LabelledLines(leaf, _line_labels(copy, beside))

        def edit(event: Event) -> Event:
            event.label = lines.label(event) or "normal"
            return event

        return Treatment(edit)

    return Layout(skip, open)


def _line_labels(copy: Copy, path: str) -> dict[int, str]:
    """Line number from 1 -> its labels, joined by `;`."""
    found: dict[int, str] = {}
    for number, line in enumerate(copy.lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
            found[int(row["line"])] = ";".join(map(str, row["labels"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise UserError(f"line {number} is no label of a line", path) from None
    return found


def ait_ads(copy: Copy) -> Layout:
    """AIT-ADS: alerts as JSON lines (`SCENARIO_wazuh.json`, `SCENARIO_aminer.json`) or as tables (`*_alerts.csv`).

    In the tables `event_label` is the label. JSON alerts get it from the table of their scenario, joined by second,
    name and address, where the copy has one; else the phase of `labels.csv` that their time falls into.
    """
    labels = _AlertLabels(copy)

    def skip(path: str) -> str | None:
        if re.search(r"(?:^|/)(?:labels|attack_times)\.csv$", path):
            return "labels of the data set"
        match = re.search(r"([a-z]+)_alerts\.(?:csv|txt)(?:\.gz)?$", path)
        if match and copy.find(rf"(?:^|/){match[1]}_(?:wazuh|aminer)\.json"):
            return "the table of alerts that are there in full"
        return None

    def open(leaf: Leaf, path: str) -> Treatment:
        if re.search(r"_alerts\.(?:csv|txt)", path):
            return Treatment(_alert_row)
        if match := re.search(r"([a-z]+)_(?:wazuh|aminer)\.json", path):
            return Treatment(labels.edit(match[1]))
        return Treatment()

    return Layout(skip, open)


def _alert_row(event: Event) -> Event:
    found = take(event, ("time_label", "event_label", "short"))
    label = str(found.get("event_label", "")).strip()
    event.label = (label if label != "-" else "normal") or None
    return event


class _AlertLabels:
    """What is known of the alerts of a scenario, read when its first file is opened."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    def edit(self, scenario: str) -> Edit:
        windows = list(self._windows(scenario))
        exact = self._exact(scenario)

        def edit(event: Event) -> Event:
            second, name, address = _alert(record_of(event))
            event.log_type, event.host = name, address
            if second is None:
                return event
            event.timestamp = datetime.fromtimestamp(second, UTC)
            if exact is not None:
                event.label = exact.get((second, name or "", address or ""), "normal")
            elif windows:
                place = bisect_right(windows, (second, float("inf"), "")) - 1
                inside = place >= 0 and second <= windows[place][1]
                event.label = windows[place][2] if inside else "false_positive"
            return event

        return edit

    def _windows(self, scenario: str) -> Iterator[tuple[float, float, str]]:
        rows: list[tuple[float, float, str]] = []
        for path in self._copy.find(r"(?:^|/)labels\.csv$")[:1]:
            for row in csv.DictReader(self._copy.lines(path)):
                if row.get("scenario") == scenario:
                    try:
                        rows.append((float(row["start"]), float(row["end"]), row["attack"]))
                    except (KeyError, TypeError, ValueError):
                        raise UserError("a row without scenario, attack, start and end", path) from None
        yield from sorted(rows)

    def _exact(self, scenario: str) -> dict[tuple[int, str, str], str] | None:
        paths = self._copy.find(rf"(?:^|/){scenario}_alerts\.(?:csv|txt)(?:\.gz)?$")
        if not paths:
            return None
        found: dict[tuple[int, str, str], str] = {}
        for row in csv.DictReader(self._copy.lines(paths[0])):
            label = row.get("event_label")
            if label is None or not str(row.get("time")).isdigit():
                raise UserError("a row without time and event_label", paths[0])
            if label != "-":
                found[int(row["time"]), row["name"], row["ip"]] = label
        return found


def _alert(record: dict[str, object]) -> tuple[int | None, str | None, str | None]:
    """Second, name and address of an alert, in the words of the tables.

    Wazuh's own epoch times are those of the replay a year later, so `@timestamp` is read.
    """
    rule, agent = _dict(record.get("rule")), _dict(record.get("agent"))
    if rule:
        title = text_of(rule.get("description")) or ""
        name = title if title.startswith("Suricata: ") else f"Wazuh: {title}"
        stamp = str(record.get("@timestamp", "")).replace("Z", "+00:00")
        moment = datetime.fromisoformat(stamp) if stamp else None
        return (int(moment.timestamp()) if moment else None), name, text_of(agent.get("ip"))
    component, data = _dict(record.get("AnalysisComponent")), _dict(record.get("LogData"))
    stamps = data.get("Timestamps")
    first = stamps[0] if isinstance(stamps, list) and stamps else None
    second = int(first) if isinstance(first, int | float) else None
    return second, text_of(component.get("AnalysisComponentName")), text_of(_dict(record.get("AMiner")).get("ID"))


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
