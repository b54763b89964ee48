"""How well a tokenizer fits a corpus, per source, beside BERT's WordPiece and SmolLM2's BPE."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from html import escape
from pathlib import Path

import numpy as np

from logfm.artifacts import Manifest, finished, produce, read_manifest, stage_key
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer.log_tokenizer import LogTokenizer
from logfm.tokenizer.rivals import Rival
from logfm.tokenizer.sampling import draw

STAGE = "tokenizer-report"
ALL = "(all)"
OURS = "logfm"
_BATCH = 1024
_LONGEST = 50


@dataclass(frozen=True)
class Row:
    """One tokenizer on one source. Shares are of tokens (of ids for `vocabulary_used`), None for a rival."""

    source: str
    tokenizer: str
    events: int
    bytes: int
    tokens: int
    tokens_per_event: float
    bytes_per_token: float
    ratio: float
    """Our tokens over this tokenizer's, on the same events."""
    delimiter_share: float | None = None
    single_byte_share: float | None = None
    vocabulary_used: float | None = None


@dataclass
class _Counts:
    used: np.ndarray
    events: int = 0
    bytes: int = 0
    rivals: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def report(
    tokenizer: LogTokenizer,
    corpus: Corpus,
    out: Path,
    rivals: Sequence[Rival] = (),
    sample_bytes: int = 16 * 2**20,
    seed: int = 0,
) -> Manifest:
    """Write report.html, report.csv (one `Row` a line) and longest_tokens.csv over a draw of the corpus.

    `sample_bytes` are drawn as for training: equal bytes a source, seeded, duplicates left out.

    Raises:
        UserError: an empty corpus, two tokenizers of one name, or `out` is taken.
    """
    names = [OURS, *(rival.name for rival in rivals)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two tokenizers to compare have the name {twice}", corpus.path, "Rename the folder of one.")
    config = {"sample_bytes": sample_bytes, "rivals": {rival.name: rival.hash for rival in rivals}}
    inputs = {"tokenizer": tokenizer.hash, "corpus": corpus.manifest.hash}
    done = finished(out, stage_key(STAGE, config, seed, inputs))
    if done is not None:
        return done
    with produce(out, stage=STAGE, config=config, inputs=inputs, seed=seed) as work:
        rows, used = measure(tokenizer, corpus, rivals, sample_bytes, seed)
        longest = longest_tokens(tokenizer, used)
        (work.path / "report.csv").write_text(_csv([asdict(row) for row in rows]), encoding="utf-8")
        (work.path / "longest_tokens.csv").write_text(_csv(longest), encoding="utf-8")
        (work.path / "report.html").write_text(_html(tokenizer, inputs, rows, longest), encoding="utf-8")
        work.licences.update(corpus.manifest.licences)
        work.metrics.update(rows=[asdict(row) for row in rows if row.source == ALL])
    return read_manifest(out, STAGE)


def measure(
    tokenizer: LogTokenizer, corpus: Corpus, rivals: Sequence[Rival], sample_bytes: int, seed: int
) -> tuple[list[Row], np.ndarray]:
    """The rows of every source and of all together, and how often each id occurred (int64, (vocab_size,)).

    Raises:
        UserError: an empty corpus.
    """
    counts: dict[str, _Counts] = {}
    for batch in draw(corpus, sample_bytes, seed).batches():
        by_source: dict[str, list[str]] = defaultdict(list)
        for text, source in zip(batch["text"].to_pylist(), batch["source"].to_pylist(), strict=True):
            by_source[source].append(text)
        for source, texts in by_source.items():
            for start in range(0, len(texts), _BATCH):
                _count(counts, source, texts[start : start + _BATCH], tokenizer, rivals)
    if not any(count.events for count in counts.values()):
        raise UserError("the corpus has no events to report on", corpus.path)
    total = _Counts(np.zeros(tokenizer.vocab_size, dtype=np.int64))
    for count in counts.values():
        _add(total, count)
    rows = [row for source in sorted(counts) for row in _rows(source, counts[source], tokenizer)]
    return rows + _rows(ALL, total, tokenizer), total.used


def longest_tokens(tokenizer: LogTokenizer, used: np.ndarray) -> list[dict[str, object]]:
    """The longest tokens of the vocabulary: text as a JSON string, bytes, occurrences in the draw."""
    order = np.lexsort((np.arange(tokenizer.vocab_size), -tokenizer.byte_lengths))[:_LONGEST]
    return [
        {
            "token": json.dumps(text),
            "bytes": int(tokenizer.byte_lengths[index]),
            "occurrences": int(used[index]),
        }
        for index, text in zip(order.tolist(), tokenizer.tokens(order), strict=True)
    ]


def _count(
    counts: dict[str, _Counts],
    source: str,
    texts: list[str],
    tokenizer: LogTokenizer,
    rivals: Iterable[Rival],
) -> None:
    count = counts.setdefault(source, _Counts(np.zeros(tokenizer.vocab_size, dtype=np.int64)))
    ids = np.concatenate([np.zeros(0, dtype=np.int32), *tokenizer.encode_batch(texts)])
    count.used += np.bincount(ids, minlength=tokenizer.vocab_size)
    count.events += len(texts)
    count.bytes += sum(len(text.encode()) for text in texts)
    for rival in rivals:
        count.rivals[rival.name] += int(rival.counts(texts).sum())


def _add(total: _Counts, count: _Counts) -> None:
    total.used += count.used
    total.events += count.events
    total.bytes += count.bytes
    for name, tokens in count.rivals.items():
        total.rivals[name] += tokens


def _rows(source: str, count: _Counts, tokenizer: LogTokenizer) -> list[Row]:
    ours = int(count.used.sum())

    def row(name: str, tokens: int, *shares: float) -> Row:
        per_event, per_token = tokens / max(count.events, 1), count.bytes / max(tokens, 1)
        ratio = ours / max(tokens, 1)
        return Row(source, name, count.events, count.bytes, tokens, per_event, per_token, ratio, *shares)

    delimiters = int(count.used[tokenizer.delimiter_mask].sum())
    single = int(count.used[tokenizer.byte_lengths == 1].sum())
    shares = delimiters / max(ours, 1), single / max(ours, 1), float((count.used > 0).mean())
    return [row(OURS, ours, *shares), *(row(name, tokens) for name, tokens in count.rivals.items())]


def _csv(rows: Sequence[dict[str, object]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _html(
    tokenizer: LogTokenizer, inputs: Mapping[str, str], rows: Sequence[Row], longest: Sequence[dict[str, object]]
) -> str:
    names = [spec.name for spec in fields(Row)]
    rows = sorted(rows, key=lambda row: row.source != ALL)
    return _PAGE.format(
        hash=escape(inputs["tokenizer"]),
        corpus=escape(inputs["corpus"]),
        bytes=rows[0].bytes,
        policy=escape(tokenizer.facts.policy_name),
        size=tokenizer.vocab_size,
        rows=_table(names, [[_cell(value) for value in asdict(row).values()] for row in rows]),
        longest=_table(list(longest[0]), [[_cell(value) for value in row.values()] for row in longest]),
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tokenizer report</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
code {{ overflow-wrap: anywhere; }}
#sources, #longest {{ overflow-x: auto; }}
#longest td {{ white-space: pre-wrap; }}
td, th {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }}
td:first-child, th:first-child, #sources :is(td, th):nth-child(2) {{ text-align: left; }}
</style></head><body>
<h1>Tokenizer report</h1>
<p>{size:,} tokens; policy <code>{policy}</code>; hash <code>{hash}</code>.<br>
Measured on {bytes:,} bytes drawn from the corpus <code>{corpus}</code>, as equal among the sources as they allow.<br>
Ratio is our tokens over the row's, on the same events: below 1 we need fewer. Of our tokens, the delimiter share is
those that are punctuation, white space or control characters, the single byte share those of one byte; vocabulary used
is the share of all ids that occur.</p>
<div id="sources">{rows}</div> <h2>Longest tokens</h2> <div id="longest">{longest}</div> </body></html>
"""
