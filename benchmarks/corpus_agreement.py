"""How far our columns agree with what others parsed from the same raw records.

    python benchmarks/corpus_agreement.py DATA [--verbose]

DATA holds `product_samples/normalised_events.jsonl.gz` (raw `message`, and `event` parsed by a SIEM's connector) and
`linux_auditd` (raw records, and `parsed/` by laurel). Each raw record is read alone through our readers. Per format
and field: how many have the field on both sides, and for how many of these the values agree. Hosts, users and
processes agree when ours is one of the values that the other side gives for that role (name or address, with or
without a domain, a folder or the $ of a machine's account); process ids when theirs is one of those in the record's
fields; times when they are the same instant, or the same but for the year where the record carries none (counted
apart). A record that gave several events is judged by its first.
"""

import argparse
import gzip
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import Input
from logfm.corpus.events import Event
from logfm.corpus.read import read_input

# The role of our column: where ECS keeps values of that role. The first ones decide whether the other side has it.
ROLES = {
    "host": (("host.name", "host.hostname", "observer.hostname", "log.hostname", "agent.name", "agent.id", "host.id",
              "host.ip", "source.ip", "source.address", "source.domain", "client.ip", "client.address", "observer.name",
              "observer.ip", "destination.ip", "destination.address", "destination.domain", "related.ip",
              "related.hosts", "observer.serial_number", "cloud.instance.id"), 8),
    "user": (("user.name", "user.email", "user.id", "user.full_name", "source.user.name", "source.user.email",
              "client.user.name", "user.target.name", "user.target.email", "destination.user.name", "related.user",
              "email.from.address", "user.effective.name", "user.changes.name", "process.user.name"), 5),
    "process": (("process.executable", "process.name", "process.command_line", "service.name", "log.syslog.appname",
                 "user_agent.original", "user_agent.name", "process.title", "cloud.service.name", "event.provider",
                 "network.application", "application.name", "rule.name", "observer.product", "process.parent.name"), 3),
}  # fmt: skip


@dataclass
class Score:
    """One field of one format: pairs with the field on both sides, pairs that agree, and some that do not."""

    both: int = 0
    same: int = 0
    year: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, same: bool, ours: object, theirs: object, raw: str) -> None:
        """Count one pair."""
        self.both += 1
        self.same += same
        if not same:
            self.wrong.append(f"ours {str(ours)[:100]!r}, theirs {str(theirs)[:200]!r}: {raw[:200]!r}")


Scores = dict[str, dict[str, Score]]


def main() -> None:
    """Compare both data sets, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--verbose", action="store_true", help="disagreements too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _report("product_samples", _products(options.data, Path(folder)), options.verbose)
        _report("linux_auditd", _audit(options.data / "linux_auditd"), options.verbose)


def _read(path: Path, name: str) -> tuple[str, list[Event]]:
    """The format and the events of one file."""
    modified = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    form, events = "unrecognised", []
    for part in read_input(Input(path, name, "sample", path.stat().st_size, modified), CorpusConfig()):
        form = part.format or form
        events += [record for record in part.records if isinstance(record, Event)]
    return form, events


def _products(data: Path, folder: Path) -> Scores:
    scores: Scores = defaultdict(lambda: defaultdict(Score))
    path = folder / "sample"
    with gzip.open(data / "product_samples/normalised_events.jsonl.gz") as stream:
        for line in stream:
            sample = json.loads(line)
            path.write_text(sample["message"])
            form, events = _read(path, sample["product"])
            scores[form]["(read)"].add(bool(events), None, None, sample["message"])
            if events:
                _compare(scores[form], events[0], sample["event"], sample["message"])
    return scores


def _compare(scores: dict[str, Score], ours: Event, theirs: dict[str, Any], raw: str) -> None:
    stamp = theirs.get("@timestamp")
    if stamp and ours.timestamp is not None:
        moment = datetime.fromisoformat(stamp)
        same = abs((moment - ours.timestamp).total_seconds()) < 1
        yearless = not same and f"{ours.timestamp:%m%d%H%M%S}" == f"{moment:%m%d%H%M%S}"
        scores["timestamp"].year += yearless
        scores["timestamp"].add(same or yearless, str(ours.timestamp), stamp, raw)
    if stamp:
        scores["(time found)"].add(ours.timestamp is not None, None, stamp, raw)
    for role, (places, leading) in ROLES.items():
        values = list(_values(theirs, places))
        mine = getattr(ours, role)
        if mine is not None and any(True for _ in _values(theirs, places[:leading])):
            scores[role].add(_agree(mine, values), mine, values[:6], raw)
    pids = _pids(ours)
    if pids and (other := next(_values(theirs, ("process.pid",)), None)) is not None:
        scores["process id"].add(other in pids, pids, other, raw)


def _values(event: dict[str, Any], places: Iterable[str]) -> Iterator[str]:
    for place in places:
        value: Any = event
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | int) and not isinstance(one, bool) and str(one):
                yield str(one)


def _agree(mine: str, values: list[str]) -> bool:
    names = _names(mine)
    return any(names & _names(value) for value in values)


def _names(value: str) -> set[str]:
    """A value and its short forms: without domain, folder, extension, port."""
    value = value.strip().strip("\"'").lower().removesuffix("$")
    parts = {value, value.rpartition("\\")[2], value.rpartition("/")[2], value.partition("@")[0]}
    if not re.fullmatch(r"[\d.]+|[\da-f:.]+", value):
        parts.add(value.partition(".")[0])
    else:
        parts.add(value.partition(":")[0] if value.count(":") == 1 else value)
        parts.add(value.removeprefix("::ffff:"))
    if value.startswith("arn:"):
        parts.update(re.split("[:/]", value))
    return {part for part in parts if part}


def _pids(event: Event) -> set[str]:
    """The process ids among an event's fields: of the process that acts, and of the one that writes the log."""
    record = _record(event)
    names = ("pid", "NewProcessId", "ProcessId", "ProcessID", "process_id", "ExecutionProcessID")
    values = [str(record.get(name, "")) for name in names]
    return {str(int(value, 0)) for value in values if re.fullmatch(r"(?:0|[1-9]\d{0,9})|0x[0-9a-f]{1,8}", value)}


def _record(event: Event) -> dict[str, Any]:
    document = event.fields or (event.text if event.text.startswith("{") else "{}")
    try:
        record = orjson.loads(document)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _audit(folder: Path) -> Scores:
    """Records against laurel's: one event an id, and each value of a record type by its name."""
    scores: Scores = defaultdict(lambda: defaultdict(Score))
    for twin in sorted((folder / "parsed").glob("*.json")):
        raw = folder / f"{twin.stem}.audit.log"
        theirs = {one["ID"]: one for one in map(json.loads, twin.read_text().splitlines()) if one}
        _, events = _read(raw, raw.name)
        ours: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            record = _record(event)
            moment = re.search(r"audit\((\d+\.\d+):", event.text)
            if moment and "serial" in record:
                ours[f"{moment[1]}:{record['serial']}"].append(event)
        for key, other in theirs.items():
            found = ours.get(key, [])
            scores["auditd"]["one event an id"].add(len(found) == 1, len(found), key, raw.name)
            if found:
                _compare_audit(scores["auditd"], found[0], other, raw.name)
    return scores


def _compare_audit(scores: dict[str, Score], event: Event, theirs: dict[str, Any], raw: str) -> None:
    stamp = float(theirs["ID"].partition(":")[0])
    same = event.timestamp is not None and abs(event.timestamp.timestamp() - stamp) < 0.001
    scores["timestamp"].add(same, event.timestamp, stamp, raw)
    record = _record(event)
    call = theirs.get("SYSCALL", {})
    for name, ours, other in (
        ("process", event.process, call.get("exe")),
        ("user", event.user, call.get("AUID") if call.get("AUID") not in (None, "unset") else call.get("UID")),
        ("host", event.host, theirs.get("NODE")),
        ("process id", record.get("pid"), call.get("pid")),
        ("parent process id", record.get("ppid"), call.get("ppid")),
        ("system call", record.get("SYSCALL"), call.get("SYSCALL")),
        ("command", record.get("comm"), call.get("comm")),
        ("arguments", _arguments(record), theirs.get("EXECVE", {}).get("ARGV")),
        ("proctitle", record.get("proctitle", "").split("\0") if "proctitle" in record else None,
         theirs.get("PROCTITLE", {}).get("ARGV")),
        ("working directory", record.get("cwd.cwd"), theirs.get("CWD", {}).get("cwd")),
        ("path", record.get("path.name"), next(iter(theirs.get("PATH", [])), {}).get("name")),
    ):  # fmt: skip
        if ours is not None and other is not None:
            agrees = ours == other if isinstance(other, list) else str(ours) == str(other)
            scores[name].add(agrees, ours, other, raw)


def _arguments(record: dict[str, Any]) -> list[str] | None:
    found = [record[f"execve.a{number}"] for number in range(len(record)) if f"execve.a{number}" in record]
    return found or None


def _report(title: str, scores: Scores, verbose: bool) -> None:
    print(f"\n== {title}\n{'format':<22} {'field':<18} {'on both sides':>13} {'agree':>6} {'share':>8}")
    total: dict[str, Score] = defaultdict(Score)
    for form, found in sorted(scores.items()):
        for name, score in sorted(found.items()):
            _line(form, name, score)
            for text in score.wrong if verbose else ():
                print(f"        {text}")
            total[name].both += score.both
            total[name].same += score.same
            total[name].year += score.year
    for name, score in sorted(total.items()):
        _line("all", name, score)


def _line(form: str, name: str, score: Score) -> None:
    note = f"   {score.year} but for the year, which the record lacks" if score.year else ""
    print(f"{form:<22} {name:<18} {score.both:>13} {score.same:>6} {score.same / max(score.both, 1):>8.1%}{note}")


if __name__ == "__main__":
    main()
