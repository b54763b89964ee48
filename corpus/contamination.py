"""The contamination index: value-masked hashes of all events, which tell what templates a model has seen.

Raw lines carry times and numbers, so hashes of raw lines never meet; with the values masked, an evaluation can tell
which of its lines are new to a model and which only carry other values.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import read_manifest
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.templates import template_hashes
from logfm.corpus.words import Words
from logfm.errors import UserError

INDEX = "templates.parquet"
_SCHEMA = pa.schema([pa.field("template", pa.uint64(), nullable=False), pa.field("events", pa.int64(), nullable=False)])
_PAIR_BYTES = 16
_PARTITION = 1 << 19  # pairs sorted at once: about 50 bytes each
Counts = npt.NDArray[np.int64]


def seen(index: Words, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which of the texts have a template of the index (as `read_index` gives it), bool (len(texts),)."""
    hashes = template_hashes(pa.array(texts, pa.string()))
    places = np.searchsorted(index, hashes)
    return np.append(index, np.uint64(0))[places] == hashes if len(index) else np.zeros(len(hashes), dtype=bool)


def read_index(folder: str | Path) -> Words:
    """The templates of a corpus, uint64, ascending.

    Raises:
        UserError: not a corpus, or one that was built before there was an index.
    """
    read_manifest(Path(folder), "corpus")
    path = Path(folder) / INDEX
    if not path.exists():
        raise UserError("the corpus has no contamination index", folder, "Build it again.")
    return pq.read_table(path, columns=["template"])["template"].to_numpy()


def join_indexes(folders: Sequence[Path], out: Path) -> bool:
    """Write into the folder `out` what the indexes of some corpora or encoders hold together.

    False, and no file, where one of them has none: half an index would call new what a model has seen.
    """
    paths = [folder / INDEX for folder in folders]
    if not all(path.is_file() for path in paths):
        return False
    tables = [pq.read_table(path, columns=_SCHEMA.names) for path in paths]
    counts = pa.concat_tables(tables).group_by("template").aggregate([("events", "sum")]).sort_by("template")
    with parquet_writer(out / INDEX, _SCHEMA) as writer:
        writer.write_table(counts.select(["template", "events_sum"]).rename_columns(_SCHEMA.names).cast(_SCHEMA))
    return True


def write_part(hashes: Sequence[Words], path: Path) -> None:
    """Distinct templates of some events, ascending, and behind them their counts, for `write_index`."""
    found, counts = np.unique(np.concatenate([*hashes, np.empty(0, np.uint64)]), return_counts=True)
    with path.open("wb") as stream:
        stream.write(found.astype("<u8").data)
        stream.write(counts.astype("<i8").data)


def write_index(parts: Sequence[Path], path: Path) -> int:
    """Merge the parts into one Parquet file (template uint64 ascending, events int64); returns its rows."""
    total = sum(part.stat().st_size // _PAIR_BYTES for part in parts)
    ranges = max(1, -(-total // _PARTITION))
    rows = 0
    with parquet_writer(path, _SCHEMA) as writer:
        for number in range(ranges):
            found, counts = _merged(list(_in_range(parts, number, ranges)))
            writer.write_batch(pa.record_batch([pa.array(found), pa.array(counts)], schema=_SCHEMA))
            rows += len(found)
    return rows


def _in_range(parts: Sequence[Path], number: int, ranges: int) -> Iterator[tuple[Words, Counts]]:
    """What each part has in one of equal ranges of hashes, so that the file ascends; no more of it is read."""
    bounds = np.array([((1 << 64) - 1) * one // ranges for one in (number, number + 1)], dtype=np.uint64)
    for part in parts:
        if total := part.stat().st_size // _PAIR_BYTES:
            templates = np.memmap(part, dtype="<u8", mode="r", shape=total)
            low, high = np.searchsorted(templates, bounds).tolist()
            high = high if number + 1 < ranges else total
            counts = np.fromfile(part, dtype="<i8", count=high - low, offset=8 * (total + low))
            yield np.array(templates[low:high]), counts


def _merged(found: list[tuple[Words, Counts]]) -> tuple[Words, Counts]:
    templates = np.concatenate([*(one for one, _ in found), np.empty(0, np.uint64)])
    order = np.argsort(templates)
    templates = templates[order]
    counts = np.concatenate([*(one for _, one in found), np.empty(0, np.int64)])[order]
    starts = np.flatnonzero(np.append(True, templates[1:] != templates[:-1])[: len(templates)])
    return templates[starts], np.add.reduceat(counts, starts) if len(starts) else counts
