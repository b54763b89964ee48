"""Build an index over any input, add to it, delete from it: the manifest names what counts.

DIR/manifest.json lists the files of every segment with their SHA-256; a segment, or a list of deleted rows, is written
beside them and then listed, so that a killed `add` or `delete` leaves the index as it was.
"""

import fcntl
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
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
from logfm.embeddings.embed import (
    Input,
    Seen,
    check_place,
    fit,
    input_hashes,
    is_vectors,
    licences,
    read_before,
    vectors,
)
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.filters import Filter, matching
from logfm.embeddings.parts import sync
from logfm.embeddings.search import ENCODER, STAGE, Hit, Index, encoder_of, read_index, search, segments_of, verify
from logfm.embeddings.segments import DELETED, EVENTS, FAISS, Segment, deleted, deleted_file, stored, write_segment
from logfm.embeddings.tfidf import TfidfBackend
from logfm.errors import UserError
from logfm.extras import require

__all__ = ["Hit", "Index", "add", "build", "compact", "delete", "search"]

_ADDING = ".adding"


def build(inputs: Sequence[Input], encoder: LogEncoder, out: Path, config: IndexConfig | None = None) -> Manifest:
    """Build an index folder from any input, or from a file of vectors that `embed` wrote with the same encoder.

    Events are kept once by event_id and text. tfidf is fitted on the first texts and saved inside the index. The
    manifest's metrics give events, kind and recall of each segment; its configuration the encoder's name and hash.

    Raises:
        UserError: no events, `out` is taken, or a package is missing.
    """
    config = config or IndexConfig()
    _packages(config)
    check_place(out, inputs)
    hashes = input_hashes(inputs)
    fit(encoder, inputs, config.fit_texts)
    settings = {
        "index": config.dump(),
        "encoder": {"name": encoder.name, "hash": encoder.hash, "dim": encoder.dim},
        # Where it was computed is no part of what an index is, and another machine may have no GPU.
        "reading": encoder.config.model_copy(update={"device": "auto"}).dump(),
    }
    done = finished(out, stage_key(STAGE, settings, config.seed, hashes))
    if done is not None:
        return done
    with produce(out, stage=STAGE, config=settings, inputs=hashes, seed=config.seed) as work:
        seen = Seen()
        with encoder.counted() as counted:
            written = write_segment(work.path / _name(1), vectors(inputs, counted, seen), encoder.dim, config)
        if written is None:
            raise UserError("the input holds no events", ", ".join(map(str, inputs)))
        if isinstance(encoder.backend, TfidfBackend):
            encoder.backend.save(work.path / ENCODER)
        work.licences.update(licences(inputs))
        work.metrics.update(_metrics([], written, seen.skipped, _cut(inputs, counted)))
    return read_manifest(out, STAGE)


def add(folder: Path, inputs: Sequence[Input], encoder: LogEncoder | str | Path | None = None) -> Manifest:
    """Add the events of an input that the index never held, as a new segment; returns the new manifest.

    The encoder is the index's own unless given (see `Index.open`). Killed at any moment, the index answers as before
    and the same command completes it. An event that was deleted stays out.

    Raises:
        UserError: not an index, a damaged one, another encoder, or another process is changing it.
    """
    folder = Path(folder)
    encoder = encoder_of(folder, read_index(folder), encoder)
    hashes = input_hashes(inputs)
    with _locked(folder):
        manifest = read_index(folder)
        names = segments_of(manifest)
        config = IndexConfig.model_validate(manifest.config["index"])
        _packages(config)
        verify(folder, manifest, but=FAISS)
        _clean(folder, manifest, names)
        seen = _known(folder, names)
        new = _name(1 + max(int(name.rpartition("-")[2]) for name in names))
        with encoder.counted() as counted:
            stream = vectors(inputs, counted, seen)
            written = write_segment(folder / _ADDING, stream, encoder.dim, config, small=True)
        if written is None:
            return manifest.model_copy(update={"metrics": {**manifest.metrics, "skipped": seen.skipped}})
        (folder / _ADDING).replace(folder / new)
        sync(folder)
        files = {f"{new}/{path.name}": _file(path) for path in sorted((folder / new).iterdir())}
        updated = manifest.model_copy(
            update={
                "outputs": {**manifest.outputs, **files},
                "inputs": {**manifest.inputs, **hashes},
                "licences": sorted({*manifest.licences, *licences(inputs)}),
                "metrics": _metrics(manifest.metrics["segments"], written, seen.skipped, _cut(inputs, counted)),
            }
        )
        write_atomic(folder / MANIFEST, updated.model_dump_json(indent=1).encode())
    return updated


def delete(folder: Path, where: str | None = None, ids: Sequence[str] = ()) -> Manifest:
    """Delete the events that meet an SQL condition (as `Index.search` takes it) or have one of the event_ids.

    No search finds them from then on but those of an `Index` that was opened before, and `add` does not bring them
    back; their text stays on the disk until `compact`. Killed at any moment, the index answers as before and the same
    command completes it. Returns the new manifest.

    Raises:
        UserError: neither is given, not an index, a damaged one, a condition that DuckDB refuses, or another process
            is changing it.
    """
    if where is None and not ids:
        raise UserError("say what to delete", fix="Give --where or --ids.")
    folder = Path(folder)
    read_index(folder)
    with _locked(folder):
        manifest = read_index(folder)
        names = segments_of(manifest)
        verify(folder, manifest, but=FAISS)
        _clean(folder, manifest, names)
        outputs = dict(manifest.outputs)
        segments = []
        for name, segment in zip(names, manifest.metrics["segments"], strict=True):
            gone = _chosen(folder / name / EVENTS, where, ids)
            before = deleted(folder, manifest, name)
            after = gone if before is None else gone | before
            if after.sum() > (0 if before is None else before.sum()):
                old = deleted_file(manifest, name)
                number = 1 if old is None else 1 + int(Path(old).stem.removeprefix(DELETED))
                new = f"{name}/{DELETED}{number:06}.npy"
                write_atomic(folder / new, _array(after))
                outputs = {listed: file for listed, file in outputs.items() if listed != old}
                outputs[new] = _file(folder / new)
            segments.append({**segment, "deleted": int(after.sum())})
        metrics = {**manifest.metrics, "events": _live(segments), "segments": segments}
        updated = manifest.model_copy(update={"outputs": outputs, "metrics": metrics})
        write_atomic(folder / MANIFEST, updated.model_dump_json(indent=1).encode())
    return updated


def compact(folder: Path) -> Manifest:
    """Make one segment of all, without the events that were deleted; returns the new manifest. Nothing is encoded.

    Searches are faster after many additions. The old files, and with them the text of what was deleted, are removed by
    the next change, or by calling this again: readers may be about to open them. What was deleted is forgotten: `add`
    takes it again. Killed at any moment, the index answers as before and the same command completes it.

    Raises:
        UserError: not an index, a damaged one, all is deleted, or another process is changing it.
    """
    folder = Path(folder)
    read_index(folder)
    with _locked(folder):
        manifest = read_index(folder)
        names = segments_of(manifest)
        verify(folder, manifest)
        _clean(folder, manifest, names)
        if len(names) == 1 and deleted_file(manifest, names[0]) is None:
            return manifest
        config = IndexConfig.model_validate(manifest.config["index"])
        dim = int(manifest.config["encoder"]["dim"])
        new = _name(1 + max(int(name.rpartition("-")[2]) for name in names))
        stream = (batch for name in names for batch in stored(folder / name, deleted(folder, manifest, name)))
        written = write_segment(folder / _ADDING, stream, dim, config, small=True)
        if written is None:
            raise UserError("every event of the index is deleted", folder, "Delete the folder.")
        (folder / _ADDING).replace(folder / new)
        sync(folder)
        others = {name: file for name, file in manifest.outputs.items() if not name.startswith("segment-")}
        files = {f"{new}/{path.name}": _file(path) for path in sorted((folder / new).iterdir())}
        metrics = _metrics([], written, 0, manifest.metrics.get("cut"))
        updated = manifest.model_copy(update={"outputs": {**others, **files}, "metrics": metrics})
        write_atomic(folder / MANIFEST, updated.model_dump_json(indent=1).encode())
    return updated


def _packages(config: IndexConfig) -> None:
    require("faiss", "cpu")
    if config.bm25:
        require("bm25s", "embed")


def _chosen(sidecar: Path, where: str | None, ids: Sequence[str]) -> np.ndarray:
    """A mask, bool (rows,), of the events of a sidecar that meet a condition or have one of the ids."""
    rows = pq.read_metadata(sidecar).num_rows
    chosen = np.zeros(rows, dtype=bool)
    if where is not None:
        chosen |= matching(ds.dataset(sidecar, format="parquet"), rows, Filter(where))
    if ids:
        column = pq.read_table(sidecar, columns=["event_id"])["event_id"]
        chosen |= pc.is_in(column, value_set=pa.array(ids, pa.string())).to_numpy()
    return chosen


def _array(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _metrics(before: list[dict[str, Any]], written: Segment, skipped: int, cut: int | None) -> dict[str, Any]:
    new = {"events": written.rows, "deleted": 0, "kind": written.kind, "recall_at_10": written.recall, "cut": cut}
    segments = [*before, new]
    known = [segment["cut"] for segment in segments if segment.get("cut") is not None]
    total = sum(known) if len(known) == len(segments) else None
    return {"events": _live(segments), "segments": segments, "skipped": skipped, "cut": total}


def _cut(inputs: Sequence[Input], encoder: LogEncoder) -> int | None:
    """Different texts of the input that the encoder, or the one that wrote a file of vectors, has cut; None where
    that is not known."""
    if not encoder.tells_cuts:
        return None
    if not is_vectors(inputs):
        return encoder.counts.cut
    before = read_before(inputs)
    return None if before is None else before.cut


def _live(segments: Sequence[dict[str, Any]]) -> int:
    return sum(segment["events"] - segment.get("deleted", 0) for segment in segments)


def _name(number: int) -> str:
    return f"segment-{number:06}"


def _file(path: Path) -> File:
    return File(bytes=path.stat().st_size, sha256=file_hash(path))


def _known(folder: Path, names: Sequence[str]) -> Seen:
    """The events that the index holds."""
    seen = Seen()
    for name in names:
        for batch in pq.ParquetFile(folder / name / EVENTS).iter_batches(columns=["event_id", "text"]):
            seen.add(batch)
    seen.skipped = 0
    return seen


def _clean(folder: Path, manifest: Manifest, names: Sequence[str]) -> None:
    """Remove what a killed run left, and replaced lists of deleted rows: what the manifest does not name is no part.

    It is done before a change and not after one, so that a reader who has just read the manifest finds its files.
    """
    for path in folder.glob("segment-*"):
        if path.name not in names:
            shutil.rmtree(path)
            continue
        for file in path.iterdir():
            if f"{path.name}/{file.name}" not in manifest.outputs:
                file.unlink()
    if (folder / _ADDING).exists():
        shutil.rmtree(folder / _ADDING)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError("another process is changing this index", folder) from None
    finally:
        os.close(handle)
