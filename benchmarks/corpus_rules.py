"""Sigma rules on their own regression events, and their speed on a million events.

    python benchmarks/corpus_rules.py DATA [--events 1000000]

DATA is a folder with sigma/ (sigma_rules.zip, sigma_regression_events.zip, labels.csv) and otrf_security_datasets/.
First: of the regression files (one event or a few; the label names one rule a file), how many their rule fires on, and
which other rules fire. Then all rules run over the OTRF events, reading included; where there are fewer than --events
the files are read again from the beginning, and what was reached without repetition is printed too. Rules that fire
there can't be judged, as captures mix attacks with background: hits are counted by level.
"""

import argparse
import csv
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from logfm.artifacts import peak_memory
from logfm.corpus import stream
from logfm.corpus.rules import NEEDED, Counts, RuleSet, fired, load_rules


def main() -> None:
    """Run both parts and print one JSON document each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    start = time.perf_counter()
    rules = load_rules(options.data / "sigma" / "sigma_rules.zip")
    loading = time.perf_counter() - start
    sources = Counter(source for _, source, reason, _ in rules.unsupported if reason.startswith("log source"))
    show("rules", {
        "loaded": len(rules.rules), "unsupported": rules.reasons(),
        "log_sources_not_mapped": dict(sources.most_common()),
        "other_unsupported": [one for one in rules.unsupported if not one[2].startswith("log source")],
        "seconds": round(loading, 1),
    })  # fmt: skip
    show("regression", regression(rules, options.data / "sigma"))
    show("speed", speed(rules, options.data / "otrf_security_datasets", options.events))


def regression(rules: RuleSet, folder: Path) -> dict[str, Any]:
    """Shares of files and records found by their own rule, what was not found and why, hits of other rules."""
    with (folder / "labels.csv").open(newline="") as table:
        expected = {row["file"].rsplit(".", 1)[0]: row["rule_id"] for row in csv.DictReader(table)}
    files: dict[str, str] = {}

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream([folder / "sigma_regression_events.zip"], [*NEEDED, "file"]):
            files.update(zip(batch["event_id"].to_pylist(), map(member, batch["file"].to_pylist()), strict=True))
            yield batch

    hits: dict[str, set[str]] = defaultdict(set)
    for batch in fired(batches(), rules):
        for event_id, rule_id in zip(batch["event_id"].to_pylist(), batch["rule_id"].to_pylist(), strict=True):
            hits[event_id].add(rule_id)
    own = {event_id: expected[name.rsplit(".", 1)[0]] for event_id, name in files.items()}
    records = [event_id for event_id in files if own[event_id] in hits[event_id]]
    found = {files[event_id] for event_id in records}
    every = sorted(set(files.values()))
    others = [rule for event_id, some in hits.items() for rule in some if rule != own[event_id]]
    known = {rule.rule_id: rule for rule in rules.rules}
    return {
        "files": len(every),
        "files_found": len(found),
        "share_of_files": round(len(found) / len(every), 4),
        "not_found": {name: reason(rules, expected[name.rsplit(".", 1)[0]]) for name in every if name not in found},
        "records": len(files),
        "records_found": len(records),
        "records_of_found_files_that_the_rule_is_not_for": dict(
            Counter(name for one, name in files.items() if one not in set(records) and name in found)
        ),
        "hits_of_other_rules": len(others),
        "hits_of_other_rules_by_level": dict(Counter(known[rule].level for rule in others)),
        "records_with_hits_of_other_rules": sum(bool(some - {own[one]}) for one, some in hits.items()),
        "other_rules": dict(Counter(known[rule].title for rule in others).most_common(15)),
    }


def member(name: str) -> str:
    """The name of a file in the archive."""
    return name.rsplit("!", 1)[-1]


def reason(rules: RuleSet, rule_id: str) -> str:
    """Why a rule did not fire on its own event."""
    if any(rule.rule_id == rule_id for rule in rules.rules):
        return "the rule was loaded and did not fire"
    return "the rule is unsupported"


def speed(rules: RuleSet, folder: Path, wanted: int) -> dict[str, Any]:
    """Events a second, reading included, on `wanted` events."""
    counts, levels = Counts(), Counter[str]()
    once: dict[str, float] = {}
    start = time.perf_counter()

    def batches() -> Iterator[pa.RecordBatch]:
        given = 0
        while given < wanted:
            for batch in stream([folder], list(NEEDED)):
                yield batch.slice(0, wanted - given)
                given += batch.num_rows
                if given >= wanted:
                    return
            if not once:
                once.update(events=given, seconds=time.perf_counter() - start)

    for batch in fired(batches(), rules, None, counts):
        levels.update(batch["level"].to_pylist())
    seconds = time.perf_counter() - start
    return {
        "events": counts.events,
        "events_without_repetition": once.get("events", counts.events),
        "seconds": round(seconds, 1),
        "events_per_second": round(counts.events / seconds),
        "events_per_second_without_repetition": round(once["events"] / once["seconds"]) if once else None,
        "events_that_rules_are_for": counts.covered,
        "distinct_rows_evaluated": counts.rows,
        "hits_by_level": dict(levels.most_common()),
        "peak_memory_mib": peak_memory() >> 20,
    }


def show(name: str, document: dict[str, Any]) -> None:
    """Print one part."""
    print(json.dumps({name: document}, indent=1))


if __name__ == "__main__":
    main()
