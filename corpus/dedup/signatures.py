"""The parallel half of near-deduplication: shingle sets and MinHash band keys of the rows of one shard, to disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from logfm.configs.schema.corpus import NearConfig
from logfm.corpus.dedup.shingles import shingle_sets
from logfm.corpus.words import PIECE, Words, pieces
from logfm.extras import require

_BLOCK = 8192  # rows whose keys lie together, band by band
_SEED = 20261121


def bands_for(config: NearConfig) -> tuple[int, int]:
    """Bands and rows a band: as many rows as still find a pair at the threshold with the configured probability.

    A pair at Jaccard j shares a band with probability 1 - (1 - j**rows)**bands (Leskovec, Rajaraman, Ullman,
    "Mining of Massive Datasets", 3.4); more rows propose fewer pairs below the threshold.
    """
    rows = 1
    while rows < config.permutations and _found(config, rows + 1) >= config.recall:
        rows += 1
    return config.permutations // rows, rows


def _found(config: NearConfig, rows: int) -> float:
    return 1 - (1 - config.threshold**rows) ** (config.permutations // rows)


def write_signatures(
    shard: Path, kept: Path, prefix: Path, config: NearConfig, alive: Callable[[], None] = lambda: None
) -> int:
    """Shingle sets and band keys of the rows of a shard that `kept` (int64 file of row numbers) names.

    Writes `PREFIX.shingles` (uint64), `PREFIX.sizes` (uint32, shingles a row), `PREFIX.sketches` (uint8, the lowest
    byte of each MinHash value), `PREFIX.bands` (uint64, one block of bands x rows after the other) and
    `PREFIX.blocks` (uint32, rows a block). Returns the number of rows.

    Raises:
        OSError: the disk is full.
    """
    rensa = require("rensa", "near")
    chosen = np.fromfile(kept, dtype=np.int64)
    bands, rows = bands_for(config)
    start = 0
    with (
        prefix.with_suffix(".shingles").open("wb") as shingles,
        prefix.with_suffix(".sizes").open("wb") as sizes,
        prefix.with_suffix(".bands").open("wb") as keys,
        prefix.with_suffix(".blocks").open("wb") as blocks,
        prefix.with_suffix(".sketches").open("wb") as sketches,
    ):
        held: list[Words] = []

        def flush() -> None:
            if held:
                values = np.concatenate(held)
                keys.write(band_keys(values, bands).data)
                blocks.write(np.uint32(len(values)).tobytes())
                held.clear()

        for batch in pq.ParquetFile(shard).iter_batches(batch_size=4096, columns=["text"]):
            low, high = np.searchsorted(chosen, [start, start + batch.num_rows])
            texts = batch.column(0).take(chosen[low:high] - start)
            start += batch.num_rows
            for piece in pieces(texts, PIECE):
                hashes, begins = shingle_sets(piece, config.shingle)
                shingles.write(hashes.data)
                sizes.write(np.diff(begins).astype(np.uint32).data)
                matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
                    hashes, begins.astype(np.uint64), bands * rows, _SEED
                )
                values = np.array(matrix.to_rows(), dtype=np.uint64)
                sketches.write(values.astype(np.uint8).data)
                held.append(values)
                if sum(map(len, held)) >= _BLOCK:
                    flush()
            alive()
        flush()
    return len(chosen)


def band_keys(signatures: Words, bands: int) -> npt.NDArray[np.uint64]:
    """One key a band, uint64 (bands, n), of MinHash signatures uint64 (n, permutations)."""
    rows = signatures.reshape(len(signatures), bands, -1)
    keys = np.zeros(rows.shape[:2], dtype=np.uint64)
    for value in np.moveaxis(rows, 2, 0):
        keys = (keys ^ value) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return np.ascontiguousarray(keys.T)
