"""Build an index over any input, and add to it. Nothing half-written is ever read: the manifest names what counts.

DIR/manifest.json lists the files of every segment with their SHA-256; a segment is written beside them, renamed into
place and then listed, so that a killed `add` leaves the index as it was.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from logfm.artifacts import (
    MANIFEST,
    File,
    Manifest,
    file_hash,
    finished,
    produce,
    read_manifest,
    stage_key,
    write_atomic,
)
from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings.embed import Input, Seen, check_place, fit, input_hashes, sync, vectors
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.search import ENCODER, STAGE, Hit, Index, encoder_of, search, segments_of
from logfm.embeddings.segments import EVENTS, Segment, write_segment
from logfm.embeddings.tfidf import TfidfBackend
from logfm.errors import UserError
from logfm.extras import require

__all__ = ["Hit", "Index", "add", "build", "search"]

_ADDING = ".adding"


def build(inputs: Sequence[Input], encoder: LogEncoder, out: Path, config: IndexConfig | None = None) -> Manifest:
    """Build an index folder from any input, or from a file of vectors that `embed` wrote with the same encoder.

    Events are kept once by event_id and text. tfidf is fitted on the first texts and saved inside the index. The
    manifest's metrics give events, kind and recall of each segment; its configuration the encoder's name and hash.

    Raises:
        UserError: no events, `out` is taken, or a package is missing.
    """
    require("faiss", "cpu")
    config = config or IndexConfig()
    check_place(out, inputs)
    hashes = input_hashes(inputs)
    fit(encoder, inputs, config.fit_texts)
    settings = {
        "index": config.dump(),
        "encoder": {"name": encoder.name, "hash": encoder.hash, "dim": encoder.dim},
        "reading": encoder.config.dump(),
    }
    done = finished(out, stage_key(STAGE, settings, config.seed, hashes))
    if done is not None:
        return done
    with produce(out, stage=STAGE, config=settings, inputs=hashes, seed=config.seed) as work:
        seen = Seen()
        written = write_segment(work.path / _name(1), vectors(inputs, encoder, seen), encoder.dim, config)
        if written is None:
            raise UserError("the input holds no events", ", ".join(map(str, inputs)))
        if isinstance(encoder.backend, TfidfBackend):
            encoder.backend.save(work.path / ENCODER)
        work.licences.update(_licences(inputs))
        work.metrics.update(_metrics([], written, seen.skipped, encoder))
    return read_manifest(out, STAGE)


def add(folder: Path, inputs: Sequence[Input], encoder: LogEncoder | None = None) -> Manifest:
    """Add the events of an input that the index does not hold yet, as a new segment; returns the new manifest.

    The encoder is the index's own unless given. Killed at any moment, the index answers as before and the same
    command completes it.

    Raises:
        UserError: not an index, a damaged one, another encoder, or another process is adding.
    """
    require("faiss", "cpu")
    folder = Path(folder)
    encoder = encoder_of(folder, read_manifest(folder, STAGE), encoder)
    hashes = input_hashes(inputs)
    with _locked(folder):
        manifest = read_manifest(folder, STAGE)
        names = segments_of(manifest)
        _clean(folder, names)
        seen = _known(folder, names)
        config = IndexConfig.model_validate(manifest.config["index"])
        new = _name(1 + max(int(name.rpartition("-")[2]) for name in names))
        written = write_segment(folder / _ADDING, vectors(inputs, encoder, seen), encoder.dim, config, small=True)
        if written is None:
            return manifest.model_copy(update={"metrics": {**manifest.metrics, "skipped": seen.skipped}})
        (folder / _ADDING).replace(folder / new)
        sync(folder)
        files = {f"{new}/{path.name}": _file(path) for path in sorted((folder / new).iterdir())}
        updated = manifest.model_copy(
            update={
                "outputs": {**manifest.outputs, **files},
                "inputs": {**manifest.inputs, **hashes},
                "licences": sorted({*manifest.licences, *_licences(inputs)}),
                "metrics": _metrics(manifest.metrics["segments"], written, seen.skipped, encoder),
            }
        )
        write_atomic(folder / MANIFEST, updated.model_dump_json(indent=1).encode())
    return updated


def _metrics(before: list[dict[str, Any]], written: Segment, skipped: int, encoder: LogEncoder) -> dict[str, Any]:
    segments = [*before, {"events": written.rows, "kind": written.kind, "recall_at_10": written.recall}]
    total = sum(segment["events"] for segment in segments)
    return {"events": total, "segments": segments, "skipped": skipped, "cut": encoder.counts.cut}


def _name(number: int) -> str:
    return f"segment-{number:06}"


def _file(path: Path) -> File:
    return File(bytes=path.stat().st_size, sha256=file_hash(path))


def _licences(inputs: Sequence[Input]) -> list[str]:
    folders = [Path(given) for given in inputs if (Path(given) / MANIFEST).is_file()]
    return sorted({licence for folder in folders for licence in read_manifest(folder).licences})


def _known(folder: Path, names: Sequence[str]) -> Seen:
    """The events that the index holds."""
    seen = Seen()
    for name in names:
        for batch in pq.ParquetFile(folder / name / EVENTS).iter_batches(columns=["event_id", "text"]):
            seen.add(batch)
    seen.skipped = 0
    return seen


def _clean(folder: Path, names: Sequence[str]) -> None:
    """Remove what a killed `add` left: a segment that the manifest does not name was never part of the index."""
    for path in folder.glob("segment-*"):
        if path.name not in names:
            shutil.rmtree(path)
    if (folder / _ADDING).exists():
        shutil.rmtree(folder / _ADDING)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError("another process is adding to this index", folder) from None
    finally:
        os.close(handle)
