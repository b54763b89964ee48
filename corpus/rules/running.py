"""Rules over events: rows of the fields that matter, each distinct one evaluated once, in DuckDB."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import orjson
import pyarrow as pa

from logfm.configs.schema.rules import RulesConfig
from logfm.corpus.rules.backend import column_name
from logfm.corpus.rules.compiling import Query, RuleSet
from logfm.corpus.rules.plans import Plan, Plans
from logfm.corpus.rules.shapes import antivirus_data, other_values, values, windows_view
from logfm.corpus.rules.sources import WINDOWS
from logfm.corpus.rules.views import views

NEEDED = ("event_id", "text", "source", "log_type", "fields")
"""The columns of events that `fired` reads."""

HITS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("rule_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
        pa.field("techniques", pa.list_(pa.string()), nullable=False),
    ]
)
_AT_ONCE = 50  # queries in one statement: fewer cost more planning, more cost more memory
_ID_SIZE = 80  # bytes that an event which waits takes beside its row
Row = tuple[str | None, ...]


@dataclass
class Counts:
    """What a run saw: events, those that some rule is for, and the distinct rows that were evaluated.

    `failed` counts, by rule id, evaluations that the database refused.
    """

    events: int = 0
    covered: int = 0
    rows: int = 0
    failed: Counter[str] = field(default_factory=Counter)


@dataclass
class _Pending:
    """The rows of a plan that wait for evaluation, each with the ids of its events."""

    plan: Plan
    rows: dict[Row, list[str]] = field(default_factory=dict)
    size: int = 0


def fired(
    batches: Iterable[pa.RecordBatch],
    rules: RuleSet,
    config: RulesConfig | None = None,
    counts: Counts | None = None,
) -> Iterator[pa.RecordBatch]:
    """The hits, in batches of HITS; the same events in the same order give the same batches.

    `batches` hold the columns NEEDED, as `logfm.corpus.stream` or `Corpus.batches` give them. Hits don't come in the
    order of events: rows of one kind are gathered until there are enough of them. An event whose fields are no JSON
    object meets only keywords. Memory is bounded by the configuration. `counts` is added to.
    """
    config = config or RulesConfig()
    run = _Run(rules, config, counts if counts is not None else Counts())
    for batch in batches:
        for event in zip(*(batch.column(name).to_pylist() for name in NEEDED), strict=True):
            run.add(*event)
        yield from run.hits()
    run.finish()
    yield from run.hits()


class _Run:
    def __init__(self, rules: RuleSet, config: RulesConfig, counts: Counts) -> None:
        self._rules, self._config, self._counts = rules, config, counts
        self._plans = Plans(rules)
        self._pending: dict[Plan, _Pending] = {}
        self._size = 0
        self._hits: list[tuple[str, int]] = []
        self._memo: dict[bytes, tuple[int, ...]] = {}
        # Rules become SQL: whatever they say, it reaches no file.
        self._database = duckdb.connect(config={"enable_external_access": "false"})
        self._database.execute(f"SET threads = {config.threads or os.cpu_count() or 1}")

    def add(self, event_id: str, text: str, source: str, log_type: str | None, fields: str | None) -> None:
        """Take an event: its rows join those to be evaluated, or their hits are known already."""
        most = self._config.max_value_chars
        self._counts.events += 1
        record = _record(fields if fields is not None else text)
        rows: dict[Plan, dict[Row, None]] = {}
        if source == WINDOWS:
            view = windows_view(record)
            for plan in self._plans.windows(view.channel, view.event_id):
                rows[plan] = {values(view, plan.fields, most): None}
            if found := antivirus_data(view):
                for plan in self._plans.other("antivirus"):
                    rows[plan] = {other_values("antivirus", found, text, plan.fields, most): None}
        else:
            for one in views(source, log_type, text, record):
                for plan in self._plans.other(one.kind, one.event_id):
                    row = other_values(one.kind, one.record, one.text, plan.fields, most)
                    rows.setdefault(plan, {})[row] = None
        self._counts.covered += bool(rows)
        for plan, some in rows.items():
            self._place(plan, tuple(some), event_id)

    def _place(self, plan: Plan, rows: tuple[Row, ...], event_id: str) -> None:
        """Put an event's rows of a plan beside the others; together, so that a rule counts once an event."""
        pending = self._pending.get(plan)
        if pending is None:
            pending = self._pending[plan] = _Pending(plan)
        size = 0
        for row in rows:
            size += _ID_SIZE
            events = pending.rows.get(row)
            if events is not None:
                events.append(event_id)
                continue
            known = self._memo.get(_digest(plan, row)) if self._memo and len(rows) == 1 else None
            if known is not None:
                self._hits += [(event_id, rule) for rule in known]
                return
            pending.rows[row] = [event_id]
            size += sum(len(value) for value in row if value is not None)
        self._grow(pending, size)

    def _grow(self, pending: _Pending, size: int) -> None:
        """Count what waits, and evaluate where it is enough."""
        pending.size += size
        self._size += size
        config = self._config
        if len(pending.rows) >= config.window_rows or pending.size * 4 >= config.window_bytes:
            self._evaluate(pending)
        elif self._size >= config.window_bytes:
            self._evaluate(max(self._pending.values(), key=lambda one: one.size))

    def finish(self) -> None:
        """Evaluate what is left."""
        for pending in list(self._pending.values()):
            self._evaluate(pending)

    def _evaluate(self, pending: _Pending) -> None:
        plan = pending.plan
        del self._pending[plan]
        self._size -= pending.size
        self._counts.rows += len(pending.rows)
        rows, events = list(pending.rows), list(pending.rows.values())
        found: list[set[int]] = [set() for _ in rows]
        for place, rule in self._matches(plan, rows):
            found[place].add(rule)
        if len(self._memo) + len(rows) > self._config.memo_rows:
            self._memo.clear()
        hits: dict[tuple[str, int], None] = {}
        for row, rules, ids in zip(rows, found, events, strict=True):
            ordered = tuple(sorted(rules))
            if len(self._memo) < self._config.memo_rows:
                self._memo[_digest(plan, row)] = ordered
            hits.update(((event_id, rule), None) for event_id in ids for rule in ordered)
        self._hits += hits

    def _matches(self, plan: Plan, rows: list[Row]) -> Iterator[tuple[int, int]]:
        """(Row, rule) for each query of the plan that holds on a row."""
        if not rows:
            return
        columns = dict(zip(plan.fields, zip(*rows, strict=True), strict=True)) if plan.fields else {}
        table: dict[str, Any] = {"row": pa.array(range(len(rows)), pa.int32())}
        for name, values_ in columns.items():
            table[f"c{self._rules.numbers[name]}"] = pa.array(values_, pa.string())
        self._database.register("given", pa.table(table))
        select = ["row"]
        for name, lower in plan.columns:
            number = self._rules.numbers[name]
            select.append(f"{f'lower(c{number})' if lower else f'c{number}'} AS {column_name(number, lower)}")
        self._database.execute(f"CREATE OR REPLACE TEMP TABLE events AS SELECT {', '.join(select)} FROM given")
        self._database.unregister("given")
        for start in range(0, len(plan.queries), _AT_ONCE):
            some = plan.queries[start : start + _AT_ONCE]
            try:
                yield from self._selected(some)
            except duckdb.Error:  # one of them is at fault: the others still count
                for query in some:
                    try:
                        yield from self._selected([query])
                    except duckdb.Error:
                        self._counts.failed[self._rules.rules[query.rule].rule_id] += 1

    def _selected(self, queries: Sequence[Query]) -> list[tuple[int, int]]:
        parts = (f"SELECT row, {one.rule} FROM events WHERE {one.sql}" for one in queries)
        found: list[tuple[int, int]] = self._database.execute(" UNION ALL ".join(parts)).fetchall()
        return found

    def hits(self) -> Iterator[pa.RecordBatch]:
        """The hits found since the last time, if any."""
        hits, self._hits = self._hits, []
        if not hits:
            return
        rules = [self._rules.rules[rule] for _, rule in hits]
        columns: list[list[Any]] = [
            [event_id for event_id, _ in hits],
            [rule.rule_id for rule in rules],
            [rule.title for rule in rules],
            [rule.level for rule in rules],
            [list(rule.techniques) for rule in rules],
        ]
        arrays = [pa.array(column, one.type) for column, one in zip(columns, HITS, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=HITS)


def _record(text: str) -> dict[str, Any]:
    if text[:1] != "{":
        return {}
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _digest(plan: Plan, row: Row) -> bytes:
    """The identity of a row of a plan; lengths keep values apart."""
    parts = [plan.name, *(f"{-1 if value is None else len(value)}:{value}" for value in row)]
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
