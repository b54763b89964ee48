"""The events of the contrastive stage: a sample over sources and templates, held in one Parquet file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest, file_hash, finished, produce, read_manifest, stage_key
from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.pretrain import DataConfig
from logfm.corpus.store import Corpus
from logfm.corpus.templates import template_hashes
from logfm.errors import UserError
from logfm.pretrain.contrast.known import KnownTemplates
from logfm.pretrain.tokens import split_by_time

TEXTS = "texts.parquet"
_STAGE = "views"
_CHARACTERS = 16  # of a token at most, on average: what lies behind is cut off before it is looked at
_SCHEMA = pa.schema(
    [("text", pa.string()), ("source", pa.int32()), ("template", pa.uint64()), ("user", pa.string()),
     ("host", pa.string())]
)  # fmt: skip


def build_texts(corpus: Corpus, out: Path, data: DataConfig, config: ContrastConfig, seed: int) -> Manifest:
    """Write the sample: training events only, the held-out ones of `data` left out; at most `config.most_events`.

    Each source gives as many as another, where it has them, and within a source each template.

    Raises:
        UserError: fewer than two templates, or `out` holds something else.
    """
    settings, inputs = _identity(corpus, data, config)
    if done := finished_texts(corpus, out, data, config, seed):
        return done
    held_out = split_by_time(corpus, data).validation
    known = None if config.templates is None else KnownTemplates.read(config.templates)
    sources, templates, names = _columns(corpus, data, known)
    chosen = _chosen(sources, templates, held_out, config.most_events, seed)
    if len(np.unique(templates[chosen])) < 2:
        raise UserError("the corpus holds fewer than two templates", corpus.path, "Add logs.")
    with produce(out, stage=_STAGE, config=settings, inputs=inputs, seed=seed) as work:
        with pq.ParquetWriter(work.path / TEXTS, _SCHEMA) as writer:
            for batch in _rows(corpus, data, chosen, sources, templates, config.max_tokens * _CHARACTERS):
                writer.write_batch(batch)
        work.metrics.update(events=len(chosen), templates=len(np.unique(templates[chosen])), sources=len(names))
        work.licences.update(corpus.manifest.licences)
    return read_manifest(out, _STAGE)


def finished_texts(corpus: Corpus, out: Path, data: DataConfig, config: ContrastConfig, seed: int) -> Manifest | None:
    """The manifest of the sample that `build_texts` would make, if it is there.

    Raises:
        UserError: `out` holds something else.
    """
    settings, inputs = _identity(corpus, data, config)
    return finished(out, stage_key(_STAGE, settings, seed, inputs))


def _identity(
    corpus: Corpus, data: DataConfig, config: ContrastConfig
) -> tuple[dict[str, int | float | str | None], dict[str, str]]:
    settings: dict[str, int | float | str | None] = {"view": data.view, "validation": data.validation_share}
    settings |= {"most_events": config.most_events, "max_tokens": config.max_tokens}
    inputs = {"corpus": corpus.manifest.hash}
    return settings, inputs if config.templates is None else inputs | {"templates": file_hash(config.templates)}


def _columns(
    corpus: Corpus, data: DataConfig, known: KnownTemplates | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Number of the source (int32) and template (uint64) of each event of the view, and the sources' names."""
    hashed = template_hashes if known is None else known.hashes
    numbers: dict[str, int] = {}
    sources, templates = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
    for batch in corpus.batches(["text", "source"], view=data.view):
        of_batch = [numbers.setdefault(name, len(numbers)) for name in batch["source"].to_pylist()]
        sources.append(np.array(of_batch, dtype=np.int32))
        templates.append(hashed(batch["text"]))
    return np.concatenate(sources), np.concatenate(templates), list(numbers)


def _chosen(sources: np.ndarray, templates: np.ndarray, held_out: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows (ascending) taken in turns: the first event of every template of every source, then the second, ..."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~held_out))
    keys = np.stack((sources[rows].astype(np.uint64), templates[rows]))
    _, group = np.unique(keys, axis=1, return_inverse=True)
    turn = _place_in(group.reshape(-1))
    order = np.lexsort((turn, sources[rows]))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = _place_in(sources[rows][order])
    return np.sort(rows[np.argsort(place, kind="stable")[:most]])


def _place_in(groups: np.ndarray) -> np.ndarray:
    """How many of the same group stand before each; int64."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(np.append(first, len(groups)))
    found = np.empty(len(groups), dtype=np.int64)
    found[order] = np.arange(len(groups)) - np.repeat(first, counts)
    return found


def _rows(
    corpus: Corpus, data: DataConfig, chosen: np.ndarray, sources: np.ndarray, templates: np.ndarray, most: int
) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in corpus.batches(["text", "user", "host"], view=data.view):
        low, high = np.searchsorted(chosen, [start, start + batch.num_rows])
        rows = chosen[low:high]
        taken = batch.take(pa.array(rows - start))
        columns = [
            pa.array([text[:most] for text in taken["text"].to_pylist()], pa.string()),
            pa.array(sources[rows]),
            pa.array(templates[rows]),
            taken["user"],
            taken["host"],
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
        start += batch.num_rows
