"""Events that detection rules come with: Panther's and Wazuh's tests, Sigma's regression events, fail2ban's lines."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError
from logfm.evaluation.data.rows import (
    Place,
    Row,
    as_text,
    documents,
    dropped,
    listed,
    only_drops,
    stripped,
    table,
    watched,
)

_MOST_MEMBERS, _LARGEST = 100_000, 16 << 20


def panther(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Rule tests: the event under `log`, 1 where an alert is expected.

    The description is a query for the events that raise the alert; the others are near misses and answer nothing.
    """
    drop = dropped(spec)
    for one in watched(spec, place, (one for path in place.files for one in documents(path))):
        if isinstance(one, str):
            yield one
        elif one.get("kind") not in listed(spec, "kinds"):
            yield "no log event (a policy on resources)"
        elif not isinstance(one.get("expected_alert"), bool) or one.get("log") in (None, "", {}):
            yield "no event or no label"
        else:
            record = stripped(one["log"], drop)
            alert = one["expected_alert"]
            yield Row(
                text=as_text(record),
                label=int(alert),
                group=str(one.get("rule_id")),
                source=str(one.get("log_type")),
                record=record if isinstance(record, dict) else {},
                query=str(one.get("description") or "") if alert else "",
                kind=str(one.get("rule_id")),
            )


def wazuh(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Rule tests: the raw line under `log`, the rule's description as its query."""
    only_drops(spec, ())
    for path in place.files:
        for row in table(path, ("product", "log", "rule_id", "description")):
            if not row["log"]:
                yield "no event"
                continue
            yield Row(
                text=row["log"],
                group=row["rule_id"],
                source=row["product"],
                query=row["description"],
                kind=row["rule_id"],
            )


def sigma(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Regression events of Sigma rules: the JSON beside each `.evtx` of the table, in a zip.

    Every event matches its rule. Sysmon's RuleName, which can name the technique, belongs into `drop`.

    Raises:
        UserError: a table or zip that cannot be read.
    """
    drop = dropped(spec)
    rules = {row["file"]: row for path in place.beside for row in table(path, ("file", "rule_id", "description"))}
    for one in watched(spec, place, (one for path in place.files for one in _members(path, rules))):
        if isinstance(one, str):
            yield one
            continue
        rule, record = one["rule"], stripped(one["event"], drop)
        yield Row(
            text=as_text(record),
            group=rule["rule_id"],
            source=rule.get("logsource", "sigma"),
            record=record if isinstance(record, dict) else {},
            query=rule["description"] or rule.get("rule_title", ""),
            kind=rule["rule_id"],
        )


def _members(path: Path, rules: dict[str, dict[str, str]]) -> Iterator[dict[str, Any] | str]:
    """Each event of a zip with its rule, or the reason why there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist()[:_MOST_MEMBERS]:
                if not member.filename.endswith(".json"):
                    continue
                rule = rules.get(member.filename.removesuffix(".json") + ".evtx")
                if rule is None or member.file_size > _LARGEST:
                    yield "no rule known" if rule is None else "too large"
                    continue
                for record in _objects(archive.read(member).decode("utf-8-sig", "replace")):
                    yield "not JSON" if record is None else {"rule": rule, "event": record}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        raise UserError(f"cannot read the data set ({type(error).__name__})", path) from error


def _objects(text: str) -> Iterator[Any]:
    """The JSON documents that follow each other in a file, lists opened; None where there is none."""
    decoder, start = json.JSONDecoder(), 0
    while start < len(text):
        try:
            found, start = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            yield None
            return
        yield from found if isinstance(found, list) else [found]
        start += len(text[start:]) - len(text[start:].lstrip())


def service_auth(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """fail2ban's lines: 1 where `match` says that the line is an abuse to act on."""
    only_drops(spec, ("match",))
    for path in place.files:
        for row in table(path, ("service", "line", "match")):
            if row["match"] not in ("true", "false"):
                yield "no label"
                continue
            abuse = row["match"] == "true"
            yield Row(
                text=row["line"],
                label=int(abuse),
                group=row["service"],
                source=row["service"],
                kind=row["service"] if abuse else "",
            )
