"""Foundation and Defense sets: sessions of a corpus, split without leaks, each split a corpus of its own."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logfm.artifacts import Manifest, Work, finished, produce, read_manifest, stage_key
from logfm.configs.schema.corpus import CorpusConfig, SetsConfig
from logfm.corpus.events import SCHEMA
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.sessions.splits import SPLITS, Row, split_sessions
from logfm.corpus.sessions.table import SESSIONS
from logfm.corpus.shards import REJECT_SCHEMA
from logfm.corpus.store import EVENTS, REJECTS, SESSIONS_FILE, Corpus
from logfm.errors import UserError

STAGE = "sets"


def make_sets(folder: Path, out: Path, config: SetsConfig) -> Manifest:
    """Split the sessions of a corpus into `out/train`, `out/validation` and `out/test`, each a corpus with sessions.

    The foundation set keeps every session, in its natural prevalence. The defense set keeps labelled sessions and
    draws, in each split, attack and normal ones so that the share of attack sessions is `config.prevalence`
    (LogAtlas, section 3.2); all attack sessions stay if there are enough normal ones.

    Raises:
        UserError: the corpus has no sessions or no labels, a split would be empty or lack one kind, or `out` is taken.
    """
    corpus = Corpus.open(folder)
    inputs = {"corpus": corpus.manifest.hash}
    document = config.dump()
    if done := finished(out, stage_key(STAGE, document, config.seed, inputs)):
        return done
    rows = corpus.sessions().to_pylist()
    splits, left = split_sessions(rows, config.split, config.shares)
    if config.kind == "defense":
        splits = {name: _drawn(some, name, config) for name, some in splits.items()}
    with produce(out, stage=STAGE, config=document, inputs=inputs, seed=config.seed) as work:
        work.licences.update(corpus.manifest.licences)
        for name in SPLITS:
            _write_split(corpus, splits[name], work, name, document | {"set": name})
        work.metrics["splits"] = {name: _facts(splits[name]) for name in SPLITS}
        work.metrics["left_out"] = left
        work.metrics["not_drawn"] = len(rows) - left - sum(map(len, splits.values()))
    return read_manifest(out, STAGE)


def _drawn(rows: Sequence[Row], name: str, config: SetsConfig) -> list[Row]:
    attacks = [row for row in rows if row["is_attack"]]
    normal = [row for row in rows if row["is_attack"] is False]
    share = config.prevalence
    if not attacks or not normal:
        missing = "attack" if not attacks else "normal"
        raise UserError(
            f"the {name} split has no {missing} session", fix="Try another --split, or build the corpus with --labels."
        )
    wanted = round(len(attacks) * (1 - share) / share)
    chosen = random.Random(f"{config.seed} {name}")
    if wanted <= len(normal):
        normal = chosen.sample(normal, max(1, wanted))
    else:
        attacks = chosen.sample(attacks, max(1, round(len(normal) * share / (1 - share))))
    kept = {row["session_id"] for row in (*attacks, *normal)}
    return [row for row in rows if row["session_id"] in kept]


def _facts(rows: Sequence[Row]) -> dict[str, Any]:
    attacks = sum(row["is_attack"] is True for row in rows)
    events = sum(row["events"] for row in rows)
    starts, ends = ([row[name] for row in rows if row[name] is not None] for name in ("start", "end"))
    return {
        "sessions": len(rows),
        "attack_sessions": attacks,
        "attack_session_share": round(attacks / len(rows), 4),
        "events": events,
        "events_in_attack_sessions": sum(row["events"] for row in rows if row["is_attack"]),
        "attack_events": sum(row["attack_events"] for row in rows),
        "first": min(starts).isoformat() if starts else None,
        "last": max(ends).isoformat() if ends else None,
        "hosts": len({host for row in rows for host in row["hosts"]}),
    }


def _write_split(corpus: Corpus, rows: Sequence[Row], work: Work, name: str, document: Mapping[str, Any]) -> None:
    wanted = pa.array([row["session_id"] for row in rows])
    with produce(work.path / name, stage="corpus", config=document, inputs={"corpus": corpus.manifest.hash}) as part:
        part.licences.update(corpus.manifest.licences)
        (part.path / EVENTS).mkdir()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=SESSIONS), part.path / SESSIONS_FILE, compression="zstd")
        pq.write_table(REJECT_SCHEMA.empty_table(), part.path / REJECTS)
        part.metrics.update(_write_events(corpus, wanted, part.path / EVENTS))


def _write_events(corpus: Corpus, wanted: pa.Array, folder: Path) -> dict[str, Any]:
    events = size = number = held = 0
    writer: pq.ParquetWriter | None = None
    for batch in _of_sessions(corpus, wanted):
        if writer is None:
            writer = parquet_writer(folder / f"part-{number:05d}.parquet", SCHEMA)
            number, held = number + 1, 0
        writer.write_batch(batch)
        events += batch.num_rows
        text = pc.sum(pc.binary_length(batch.column("text"))).as_py()
        size, held = size + text, held + text
        if held >= CorpusConfig().shard_bytes:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()
    return {"events": events, "bytes": size}


def _of_sessions(corpus: Corpus, wanted: pa.Array) -> Iterator[pa.RecordBatch]:
    for batch in corpus.batches():
        chosen = batch.filter(pc.is_in(batch.column("session_id"), value_set=wanted))
        if chosen.num_rows:
            yield chosen
