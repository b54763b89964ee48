"""Token shards: a corpus, tokenised once, split into training and validation by time within each source."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import MANIFEST, Manifest, finished, produce, read_manifest, stage_key
from logfm.configs.schema.pretrain import DataConfig
from logfm.console import progress
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import LogTokenizer

SPLITS = ("train", "validation")
_STAGE = "tokens"
# Below this share of events with a timestamp, order in the files stands in for time.
_TIMED_SHARE = 0.95


@dataclass(frozen=True)
class Split:
    """Which events of the view are trained on and which held out, and how that was decided for each source."""

    train: np.ndarray
    validation: np.ndarray
    rules: dict[str, str]


def build_tokens(corpus: Corpus, tokenizer: LogTokenizer, out: Path, config: DataConfig, seed: int = 0) -> Manifest:
    """Write `train.parquet` and `validation.parquet` (`input_ids` with [CLS] and [SEP], `source`).

    Events above `max_tokens` are cut into pieces; the manifest counts events, pieces and tokens a split.

    Raises:
        UserError: the corpus has too few events for a validation set.
    """
    settings, inputs = _identity(corpus, tokenizer, config)
    done = finished_tokens(corpus, tokenizer, out, config, seed)
    if done is not None:
        return done
    split = split_by_time(corpus, config)
    with produce(out, stage=_STAGE, config=settings, inputs=inputs, seed=seed) as work:
        counts = _write(corpus, tokenizer, work.path, config, split)
        work.metrics.update(counts, split=split.rules)
        work.licences.update(corpus.manifest.licences)
    return finished_tokens(corpus, tokenizer, out, config, seed) or _missing(out)


def finished_tokens(
    corpus: Corpus, tokenizer: LogTokenizer, out: Path, config: DataConfig, seed: int = 0
) -> Manifest | None:
    """The manifest of the shards that `build_tokens` would make, if they are there.

    Raises:
        UserError: `out` holds something else, such as the shards of another corpus or tokenizer.
    """
    settings, inputs = _identity(corpus, tokenizer, config)
    return finished(out, stage_key(_STAGE, settings, seed, inputs))


def take_tokens(
    older: Path, corpus: Corpus, tokenizer: LogTokenizer, out: Path, config: DataConfig, seed: int = 0
) -> None:
    """Let `out` have the shards in `older`, if they are those that `build_tokens` would make there: hard links, or
    copies on another file system. Making them of a large corpus takes hours.
    """
    settings, inputs = _identity(corpus, tokenizer, config)
    key = stage_key(_STAGE, settings, seed, inputs)
    if out.exists() or not (older / MANIFEST).is_file() or read_manifest(older).key != key:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    copying = out.with_name(f".{out.name}.copy")
    shutil.rmtree(copying, ignore_errors=True)
    shutil.copytree(older, copying, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
    copying.rename(out)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _identity(
    corpus: Corpus, tokenizer: LogTokenizer, config: DataConfig
) -> tuple[dict[str, float | int | str | None], dict[str, str]]:
    settings: dict[str, str | int | float | None] = {"view": config.view, "max_tokens": config.max_tokens}
    settings["validation"] = config.validation_share
    if config.source_events is not None:
        settings["source_events"] = config.source_events
    return settings, {"corpus": corpus.manifest.hash, "tokenizer": tokenizer.hash}


def _missing(out: Path) -> Manifest:
    raise UserError("the artifact vanished while it was being used", out)


def split_by_time(corpus: Corpus, config: DataConfig) -> Split:
    """Hold out each source's latest events; where times are missing, the last ones in file order.

    Shuffled lines would leak: neighbours in a log are near-copies of each other.
    """
    numbers, sources, times = _columns(corpus, config.view)
    train, validation = np.ones(len(sources), dtype=bool), np.zeros(len(sources), dtype=bool)
    rules: dict[str, str] = {}
    by_source = np.split(np.argsort(sources, kind="stable"), np.cumsum(np.bincount(sources, minlength=1))[:-1])
    for name in sorted(numbers):
        rows = by_source[numbers[name]]
        timed = np.isfinite(times[rows])
        by_time = timed.mean() >= _TIMED_SHARE and np.unique(times[rows[timed]]).size > 1
        # Events without a time go to training; equal times stay together on one side.
        key = np.where(timed, times[rows], -np.inf) if by_time else np.arange(len(rows), dtype=np.float64)
        cut = np.sort(key)[int(np.ceil(len(rows) * (1 - config.validation_share))) - 1]
        validation[rows] = key > cut
        learnt = rows[key <= cut]
        if config.source_events is not None and len(learnt) > config.source_events:
            train[learnt] = False
            train[learnt[np.linspace(0, len(learnt) - 1, config.source_events, dtype=np.int64)]] = True
        rules[name] = "time" if by_time else "file order"
    if not validation.any() or validation.all():
        raise UserError(
            f"too few events for a validation set ({len(sources)})",
            corpus.path,
            "Add logs, or raise data.validation_share.",
        )
    return Split(train & ~validation, validation, rules)


def _columns(corpus: Corpus, view: str | None) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """The sources' numbers; and for each event its source (int32) and time (float64, NaN where it is missing)."""
    numbers: dict[str, int] = {}
    sources, times = [np.empty(0, np.int32)], [np.empty(0, np.float64)]
    for batch in corpus.batches(["source", "timestamp"], view=view):
        names = batch["source"].dictionary_encode()
        known = [numbers.setdefault(str(name), len(numbers)) for name in names.dictionary.to_pylist()]
        sources.append(np.array(known, np.int32)[names.indices.to_numpy()])
        times.append(batch["timestamp"].cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64))
    return numbers, np.concatenate(sources), np.concatenate(times)


def _write(
    corpus: Corpus, tokenizer: LogTokenizer, folder: Path, config: DataConfig, split: Split
) -> dict[str, object]:
    schema = pa.schema([("input_ids", pa.list_(pa.int32())), ("source", pa.string())])
    counts = {name: {"events": 0, "pieces": 0, "tokens": 0} for name in SPLITS}
    writers = {name: pq.ParquetWriter(folder / f"{name}.parquet", schema) for name in SPLITS}
    row = 0
    try:
        with progress("tokenise", len(split.train)) as advance:
            for batch in corpus.batches(["text", "source"], view=config.view):
                held_out = split.validation[row : row + batch.num_rows]
                used = held_out | split.train[row : row + batch.num_rows]
                part = batch.filter(pa.array(used))
                encoded = tokenizer.encode_batch(part["text"].to_pylist())
                for name, rows in zip(SPLITS, (~held_out[used], held_out[used]), strict=True):
                    chosen = np.flatnonzero(rows)
                    _write_rows(writers[name], schema, tokenizer, encoded, part, chosen, config, counts[name])
                row += batch.num_rows
                advance(batch.num_rows)
    finally:
        for writer in writers.values():
            writer.close()
    return dict(counts)


def _write_rows(
    writer: pq.ParquetWriter,
    schema: pa.Schema,
    tokenizer: LogTokenizer,
    encoded: list[np.ndarray],
    batch: pa.RecordBatch,
    rows: np.ndarray,
    config: DataConfig,
    counts: dict[str, int],
) -> None:
    pieces, owners = [], []
    for row in rows:
        for piece in cut(encoded[row], tokenizer, config.max_tokens):
            pieces.append(piece)
            owners.append(row)
    counts["events"] += len(rows)
    counts["pieces"] += len(pieces)
    counts["tokens"] += sum(len(piece) for piece in pieces)
    if pieces:
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(pieces).astype(np.int32)))
        sources = batch["source"].take(pa.array(np.array(owners)))
        writer.write_table(pa.Table.from_arrays([lists, sources], schema=schema))


def cut(ids: np.ndarray, tokenizer: LogTokenizer, max_tokens: int) -> Iterator[np.ndarray]:
    """Pieces of at most `max_tokens` ids, each between [CLS] and [SEP]; an empty event gives one empty piece."""
    room = max_tokens - 2
    for start in range(0, max(len(ids), 1), room):
        yield np.concatenate([[tokenizer.cls_id], ids[start : start + room], [tokenizer.sep_id]])
