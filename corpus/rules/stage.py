"""Rules over inputs as a stage: a table of hits, a table of rules, and what to say about the run."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import MANIFEST, digest, file_hash, finished, produce, read_manifest, stage_key
from logfm.configs.schema.rules import RulesConfig
from logfm.console import progress
from logfm.corpus.discover import STDIN, discover
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.rules.compiling import RuleSet, load_rules
from logfm.corpus.rules.running import HITS, NEEDED, Counts, fired
from logfm.corpus.streaming import stream
from logfm.errors import UserError

STAGE = "rules"
HITS_FILE, RULES_FILE = "hits.parquet", "rules.parquet"
LEVELS = ("critical", "high", "medium", "low", "informational")
LICENCE = "Detection Rule License 1.1 (Sigma rules: name the authors, see rules.parquet)"
RULES = pa.schema(
    [
        pa.field("rule_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("level", pa.string()),
        pa.field("techniques", pa.list_(pa.string())),
        pa.field("author", pa.string()),
        pa.field("logsource", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("events", pa.int64(), nullable=False),
        pa.field("unsupported", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
_TOP = 20


def run_rules(
    inputs: Sequence[str | Path], rules: str | Path, out: Path, config: RulesConfig | None = None
) -> dict[str, Any]:
    """Run the Sigma rules under `rules` over `inputs` (as `logfm.corpus.stream` takes them); returns the summary.

    `out` named *.parquet becomes the table of hits (HITS), any other an artifact folder with `hits.parquet` and
    `rules.parquet` (RULES: every rule, its hits, and why it can't run); a finished folder of the same work is left.

    Raises:
        UserError: nothing to read, no rules, or `out` is taken or lies inside an input.
    """
    config = config or RulesConfig()
    for given in map(Path, inputs):
        if given.is_dir() and out.resolve().is_relative_to(given.resolve()):
            raise UserError("the output would lie inside the input", out, "Choose another --out.")
    if out.suffix == ".parquet":
        return _to_file(inputs, load_rules(rules, config), out, config)
    hashes = _hashes(inputs) | {"rules": _rules_hash(Path(rules))}
    key = stage_key(STAGE, config.dump(), 0, hashes)
    if finished(out, key) is None:
        loaded = load_rules(rules, config)
        with produce(out, stage=STAGE, config=config.dump(), inputs=hashes) as work:
            work.metrics.update(_write(inputs, loaded, work.path / HITS_FILE, config, work.path / RULES_FILE))
            work.licences.add(LICENCE)
    return read_manifest(out, STAGE).metrics


def _to_file(inputs: Sequence[str | Path], rules: RuleSet, out: Path, config: RulesConfig) -> dict[str, Any]:
    if out.exists():
        raise UserError("the output file exists", out, "Choose another --out, or delete it.")
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        summary = _write(inputs, rules, temporary, config)
        temporary.replace(out)
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", out.parent, "Choose another --out.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return summary


def _write(
    inputs: Sequence[str | Path], rules: RuleSet, hits: Path, config: RulesConfig, table: Path | None = None
) -> dict[str, Any]:
    counts = Counts()
    by_rule: Counter[str] = Counter()
    with parquet_writer(hits, HITS) as writer, progress("events") as advance:
        batches = _counted(stream(inputs, list(NEEDED)), advance)
        for batch in fired(batches, rules, config, counts):
            writer.write_batch(batch)
            by_rule.update(batch["rule_id"].to_pylist())
    if table is not None:
        pq.write_table(_rules_table(rules, by_rule), table, compression="zstd")
    return summary(rules, counts, by_rule)


def summary(rules: RuleSet, counts: Counts, by_rule: Counter[str]) -> dict[str, Any]:
    """What a run found: rules, unsupported ones by reason, events, hits by level, the rules that fired most."""
    known = {rule.rule_id: rule for rule in rules.rules}
    levels: Counter[str] = Counter()
    for rule_id, count in by_rule.items():
        levels[known[rule_id].level] += count
    sources = Counter(source for _, source, reason, _ in rules.unsupported if source != "*/*/*")
    return {
        "rules": len(rules.rules),
        "unsupported": rules.reasons(),
        "unsupported_log_sources": dict(sources.most_common()),
        "events": counts.events,
        "events_covered": counts.covered,
        "hits": by_rule.total(),
        "hits_by_level": {level: levels[level] for level in (*LEVELS, *sorted(set(levels) - set(LEVELS)))},
        "rules_fired": len(by_rule),
        "rules_failed": dict(counts.failed),
        "top_rules": [
            {"rule_id": one, "title": known[one].title, "level": known[one].level, "events": count}
            for one, count in by_rule.most_common(_TOP)
        ],
    }


def _rules_table(rules: RuleSet, by_rule: Counter[str]) -> pa.Table:
    names = ("rule_id", "title", "level", "author", "logsource", "file")
    rows: list[dict[str, Any]] = [
        {name: getattr(rule, name) for name in names}
        | {"techniques": list(rule.techniques), "events": by_rule[rule.rule_id]}
        for rule in rules.rules
    ]
    rows += [
        {"file": file, "logsource": source, "events": 0, "unsupported": reason, "detail": detail}
        for file, source, reason, detail in rules.unsupported
    ]
    return pa.Table.from_pylist(rows, schema=RULES)


def _counted(batches: Iterable[pa.RecordBatch], advance: Callable[[int], None]) -> Iterable[pa.RecordBatch]:
    for batch in batches:
        yield batch
        advance(batch.num_rows)


def _hashes(inputs: Sequence[str | Path]) -> dict[str, str]:
    """A content hash for each corpus and file; standard input never equals itself."""
    hashes: dict[str, str] = {}
    raw = []
    for given in map(str, inputs):
        if given == STDIN:
            hashes[given] = uuid.uuid4().hex
        elif (Path(given) / MANIFEST).is_file():
            hashes[given] = read_manifest(Path(given), "corpus").hash
        else:
            raw.append(given)
    return hashes | {one.name: file_hash(one.path) for one in (discover(raw)[0] if raw else ())}


def _rules_hash(source: Path) -> str:
    if not source.is_dir():
        return file_hash(source) if source.is_file() else ""
    files = (path for path in sorted(source.rglob("*")) if path.is_file())
    return digest({path.relative_to(source).as_posix(): file_hash(path) for path in files})
