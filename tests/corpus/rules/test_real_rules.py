"""SigmaHQ's rules on their own regression events, where they are at hand."""

import contextlib
import csv
import re
import sqlite3

import orjson
import pytest

pytest.importorskip("sigma.backends.sqlite", reason="needs the extra `rules`")
pytest.importorskip("duckdb")

from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.exceptions import SigmaError
from sigma.pipelines.sysmon.sysmon import sysmon_pipeline
from sigma.pipelines.windows.windows import windows_logsource_pipeline
from sigma.rule import SigmaRule

from logfm.configs.schema.rules import RulesConfig
from logfm.corpus import stream
from logfm.corpus.rules import NEEDED, fired, load_rules
from logfm.corpus.rules.channels import further_channels
from logfm.corpus.rules.documents import read_documents
from logfm.corpus.rules.shapes import values, windows_view


@pytest.fixture(scope="module")
def rules(shared_data):
    return load_rules(shared_data / "sigma/sigma_rules.zip")


def test_most_rules_load_and_every_other_has_a_reason(rules):
    assert len(rules.rules) + len(rules.unsupported) == 3698
    assert len(rules.rules) >= 3635
    assert set(rules.reasons()) <= {"log source not mapped to events", "pySigma: feature not supported by backend"}


def test_the_regression_events_are_found_by_their_rules(rules, shared_data):
    with (shared_data / "sigma/labels.csv").open(newline="") as table:
        expected = {row["file"].rsplit(".", 1)[0]: row["rule_id"] for row in csv.DictReader(table)}
    files: dict[str, str] = {}

    def batches():
        for batch in stream([shared_data / "sigma/sigma_regression_events.zip"], [*NEEDED, "file"]):
            names = (name.split("!", 1)[1] for name in batch["file"].to_pylist())
            files.update(zip(batch["event_id"].to_pylist(), names, strict=True))
            yield batch

    found = set()
    for batch in fired(batches(), rules):
        for event_id, rule_id in zip(batch["event_id"].to_pylist(), batch["rule_id"].to_pylist(), strict=True):
            if expected[files[event_id].rsplit(".", 1)[0]] == rule_id:
                found.add(files[event_id])
    every = set(files.values())
    assert len(every) == 287
    assert len(found) >= 0.95 * len(every), sorted(every - found)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        (
            "compound/log4shell/syslog_sysmon_log4shell_cve2021_44228_jndi_reference.zip",
            "Linux Reverse Shell Indicator",
        ),
        ("linux/defense_evasion/sh_binary_padding_dd.zip", "Binary Padding - Linux"),
        ("linux/discovery/sh_arp_cache.zip", "Linux Remote System Discovery"),
    ],
)
def test_attacks_on_linux_are_found_in_what_sysmon_and_auditd_recorded(rules, shared_data, name, title):
    batches = stream([shared_data / "otrf_security_datasets" / name], list(NEEDED))
    assert title in {one for batch in fired(batches, rules) for one in batch["title"].to_pylist()}


def test_sqlite_finds_the_same_hits(rules, shared_data):
    """The SQLite backend as it comes, on columns that compare without case, is the oracle."""
    pipeline = sysmon_pipeline() + windows_logsource_pipeline() + further_channels()
    backend = sqliteBackend(pipeline)
    batches = list(stream([shared_data / "sigma/sigma_regression_events.zip"], list(NEEDED)))
    views = [
        (event_id, windows_view(orjson.loads(text)))
        for batch in batches
        for event_id, text, source in zip(
            *(batch[name].to_pylist() for name in ("event_id", "text", "source")), strict=True
        )
        if source == "windows"
    ]
    queries: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for document in read_documents(shared_data / "sigma/sigma_rules.zip"):
        rule_id = str(document.content["id"])
        if document.content["logsource"].get("product") == "windows":
            with contextlib.suppress(SigmaError):
                parsed = SigmaRule.from_dict(document.content)
                queries[rule_id] = backend.convert_rule(parsed)
                for field in backend.required_fields(parsed):
                    names.setdefault(field.lower(), field)
    fields = list(names.values())
    database = sqlite3.connect(":memory:")
    database.create_function("REGEXP", 2, lambda pattern, text: text is not None and bool(re.search(pattern, text)))
    columns = ", ".join(f'"{field}" TEXT COLLATE NOCASE' for field in fields)
    database.execute(f"CREATE TABLE logs (event, {columns})")
    places = ", ".join("?" * (len(fields) + 1))
    rows = [(event_id, *values(view, fields, 65_536)) for event_id, view in views]
    database.executemany(f"INSERT INTO logs VALUES ({places})", rows)
    known = {rule.rule_id for rule in rules.rules}
    expected = {
        (event_id, rule_id)
        for rule_id, statements in queries.items()
        if rule_id in known
        for statement in statements
        for (event_id, *_) in database.execute(statement)
    }
    found = {
        pair
        for batch in fired(batches, rules, RulesConfig(audit=False))
        for pair in zip(batch["event_id"].to_pylist(), batch["rule_id"].to_pylist(), strict=True)
        if pair[1] in queries
    }
    assert len(expected) > 400
    assert found == expected
