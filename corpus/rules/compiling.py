"""Sigma rules to SQL: parsed, put through the pipelines of Sysmon and of the Windows channels, converted, bounded."""

from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from sigma.conditions import ConditionAND, ConditionFieldEqualsValueExpression, ConditionOR
from sigma.exceptions import SigmaError
from sigma.pipelines.sysmon.sysmon import sysmon_pipeline
from sigma.pipelines.windows.windows import windows_audit_pipeline, windows_logsource_pipeline
from sigma.rule import SigmaRule
from sigma.types import SigmaNumber, SigmaString

from logfm.configs.schema.rules import RulesConfig
from logfm.corpus.rules.backend import DuckDBBackend
from logfm.corpus.rules.channels import further_channels
from logfm.corpus.rules.documents import Document, read_documents
from logfm.corpus.rules.sources import AUDITD, WINDOWS, LogSource, rule_kind

_AUDITED = {"process_creation", "registry_event", "registry_set", "registry_add"}
_TYPES = {WINDOWS: "EventID", AUDITD: "type"}  # the fields that tell events of a kind apart
_NO_SOURCE = "log source not mapped to events"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a hit says about its rule. `rule_id` is the file's name where the rule has no id."""

    rule_id: str
    title: str
    level: str
    techniques: tuple[str, ...]
    author: str
    logsource: str
    file: str


class Query(NamedTuple):
    """One condition of a rule in SQL, over the columns named by `columns` (field, lower-cased?).

    `channels` and `event_ids` (of audit records, their types), in lower case, are values of which the condition
    requires one, None where it requires none.
    """

    rule: int
    kind: str
    sql: str
    columns: frozenset[tuple[str, bool]]
    channels: frozenset[str] | None
    event_ids: frozenset[str] | None


@dataclass
class RuleSet:
    """Rules that can run, and those that can't with their reasons.

    `unsupported` has (rule or file, log source, reason, detail) of what can't run.
    """

    rules: list[Rule] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    unsupported: list[tuple[str, str, str, str]] = field(default_factory=list)

    def reasons(self) -> dict[str, int]:
        """How many rules can't run, by reason, most frequent first."""
        return dict(Counter(reason for _, _, reason, _ in self.unsupported).most_common())


class _Unsupported(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def load_rules(source: str | Path, config: RulesConfig | None = None) -> RuleSet:
    """Read and convert the Sigma rules of a folder or zip; hostile, broken and unsupported ones are counted.

    Raises:
        UserError: no such path, or no rule files in it.
    """
    config = config or RulesConfig()
    return compile_rules(read_documents(source, config), config)


def compile_rules(documents: Iterable[Document], config: RulesConfig | None = None) -> RuleSet:
    """Convert rule documents; what can't be converted is in `unsupported`, never an exception."""
    config = config or RulesConfig()
    found = RuleSet()
    backends = _Backends()
    seen: set[str] = set()
    for document in documents:
        name, logsource = document.file, LogSource(None, None, None)
        try:
            if document.content is None:
                raise _Unsupported(document.reason or "broken YAML")
            if len(found.rules) >= config.max_rules:
                raise _Unsupported("more rules than max_rules")
            logsource = _logsource(document.content)
            rule = _described(document)
            if rule.rule_id in seen:
                raise _Unsupported("a rule of this id was read before")
            queries = list(backends.queries(document.content, logsource, len(found.rules), config))
        except _Unsupported as error:
            found.unsupported.append((name, str(logsource), error.reason, error.detail))
        else:
            seen.add(rule.rule_id)
            found.rules.append(rule)
            found.queries += queries
    found.numbers = backends.numbers
    return found


class _Backends:
    """The backends of the two ways to log the same thing on Windows, with one numbering of columns."""

    def __init__(self) -> None:
        self.plain = DuckDBBackend(lists=True)
        self.sysmon = DuckDBBackend(sysmon_pipeline() + windows_logsource_pipeline() + further_channels())
        self.audit = DuckDBBackend(windows_audit_pipeline() + windows_logsource_pipeline())
        self.numbers: dict[str, int] = {}
        self.checker = duckdb.connect()
        for one in (self.plain, self.sysmon, self.audit):
            one.numbers = self.numbers

    def queries(self, content: dict[str, Any], logsource: LogSource, rule: int, config: RulesConfig) -> Iterator[Query]:
        if "correlation" in content:
            raise _Unsupported("correlation of several events")
        kind = rule_kind(logsource)
        if kind is None:
            raise _Unsupported(_NO_SOURCE, str(logsource))
        first = self.sysmon if kind == WINDOWS else self.plain
        yield from self._converted(first, content, kind, logsource, rule, config)
        if config.audit and kind == WINDOWS and logsource.category in _AUDITED:
            try:
                yield from self._converted(self.audit, content, kind, logsource, rule, config)
            except _Unsupported:
                return  # the rule needs a field that the Security log lacks; on Sysmon's events it runs

    def _converted(
        self,
        backend: DuckDBBackend,
        content: dict[str, Any],
        kind: str,
        logsource: LogSource,
        number: int,
        config: RulesConfig,
    ) -> Iterator[Query]:
        try:
            rule = SigmaRule.from_dict(deepcopy(content))
            if _size(rule) > config.max_patterns:
                raise _Unsupported("more values than max_patterns")
            backend.used, backend.regexes = set(), set()
            conditions = backend.convert_rule(rule)  # type: ignore[no-untyped-call]
            self._check_regexes(backend.regexes)
            parsed = [one.parsed for one in rule.detection.parsed_condition]
        except _Unsupported:
            raise
        except Exception as error:
            raise _Unsupported(_reason(error), _short(error)) from error
        for sql, condition in zip(conditions, parsed, strict=True):
            if not isinstance(sql, str) or len(sql) > 64 * config.max_rule_bytes:
                raise _Unsupported("the condition converts to no SQL")
            channels = required(condition, "Channel") if kind == WINDOWS else None
            event_ids = required(condition, _TYPES[kind]) if kind in _TYPES else None
            if kind == WINDOWS and channels is None and any(logsource[1:]):
                raise _Unsupported(_NO_SOURCE, str(logsource))
            yield Query(number, kind, sql, frozenset(backend.used), channels, event_ids)

    def _check_regexes(self, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            try:
                self.checker.execute("SELECT regexp_matches('', ?)", [pattern])
            except duckdb.Error as error:
                raise _Unsupported("a regular expression that RE2 doesn't know", _short(error)) from error


def required(condition: Any, name: str) -> frozenset[str] | None:
    """The values, lower-case, of which a field must have one for the condition to hold; None if it needn't."""
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        if condition.field != name:
            return None
        value = condition.value
        if isinstance(value, SigmaNumber) or (isinstance(value, SigmaString) and not value.contains_special()):
            return frozenset([str(value).lower()])
        return None
    if isinstance(condition, ConditionAND):
        bounds = [bound for one in condition.args if (bound := required(one, name)) is not None]
        return frozenset.intersection(*bounds) if bounds else None
    if isinstance(condition, ConditionOR):
        every = [required(one, name) for one in condition.args]
        bounds = [bound for bound in every if bound is not None]
        return frozenset().union(*bounds) if len(bounds) == len(every) else None
    return None


def _described(document: Document) -> Rule:
    content = document.content or {}
    if "detection" not in content and "correlation" not in content:
        raise _Unsupported("no detection: not a Sigma rule")
    tags = content.get("tags")
    names = [tag.lower() for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    techniques = sorted({name[7:].upper() for name in names if name.startswith("attack.t") and name[8:9].isdigit()})
    text = {key: str(content.get(key) or "")[:512] for key in ("id", "title", "level", "author")}
    return Rule(
        text["id"] or document.file,
        text["title"],
        text["level"].lower() or "informational",
        tuple(techniques),
        text["author"],
        str(_logsource(content)),
        document.file,
    )


def _logsource(content: dict[str, Any]) -> LogSource:
    given = content.get("logsource")
    if not isinstance(given, dict):
        return LogSource(None, None, None)
    parts = (given.get(key) for key in LogSource._fields)
    return LogSource(*(part.lower() if isinstance(part, str) else None for part in parts))


def _size(rule: SigmaRule) -> int:
    held: list[Any] = list(rule.detection.detections.values())
    count = 0
    while held:
        one = held.pop()
        held += getattr(one, "detection_items", ())
        for value in getattr(one, "value", ()):
            count += 1
            held += getattr(value, "values", ()) if not isinstance(value, dict) else ()
    return count


def _reason(error: Exception) -> str:
    if isinstance(error, SigmaError):
        name = type(error).__name__.removeprefix("Sigma").removesuffix("Error")
        words = "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()
        return f"pySigma: {words or 'error'}"
    return "broken rule" if not isinstance(error, NotImplementedError) else "pySigma: not implemented"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
