"""The parallel half of near-deduplication: shingle sets and MinHash band keys of a task's texts, to disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logfm.configs.schema.corpus import NearConfig
from logfm.corpus.dedup.shingles import shingle_sets
from logfm.corpus.words import TextWords, Words
from logfm.extras import require

_BLOCK = 8192  # rows whose keys lie together, band by band
_SEED = 20261121
_KINDS = ("rows", "shingles", "sizes", "sketches", "bands", "blocks")
_MOST_RECENT = 1 << 18


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


class SignatureWriter:
    """Shingle sets and band keys of the texts that one task reads, written behind each other.

    Writes `PREFIX.rows` (int64, the number of each text among the task's events), `PREFIX.shingles` (uint64),
    `PREFIX.sizes` (uint32, shingles a text), `PREFIX.sketches` (uint8, the lowest byte of each MinHash value),
    `PREFIX.bands` (uint64, one block of bands x texts after the other) and `PREFIX.blocks` (uint32, texts a block).
    """

    def __init__(self, prefix: Path, config: NearConfig) -> None:
        self._minhash = require("rensa", "near").RMinHash.digest_matrix_from_flat_token_hashes
        self._bands, height = bands_for(config)
        self._permutations, self._shingle = self._bands * height, config.shingle
        self._files = {kind: prefix.with_suffix(f".{kind}").open("wb") for kind in _KINDS}
        self._held: list[Words] = []
        self._recent: set[bytes] = set()

    def new(self, hashes: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Which of the next events have a text that didn't come lately: another copy needs no signature.

        The table is bounded. A copy that it has forgotten costs time; `near_copies` takes one of each text.
        """
        fresh = np.empty(len(hashes), dtype=bool)
        for place, value in enumerate(hashes):
            fresh[place] = value not in self._recent
            self._recent.add(value)
        if len(self._recent) > _MOST_RECENT:
            self._recent.clear()
        return fresh

    def add(self, words: TextWords, rows: npt.NDArray[np.int64]) -> None:
        """Append the texts whose words these are; `rows` int64 (texts,) are their numbers among the task's events.

        Raises:
            OSError: the disk is full.
        """
        hashes, begins = shingle_sets(words, self._shingle)
        matrix = self._minhash(hashes, begins.astype(np.uint64), self._permutations, _SEED)
        values = np.array(matrix.to_rows(), dtype=np.uint64)
        self._files["rows"].write(rows.data)
        self._files["shingles"].write(hashes.data)
        self._files["sizes"].write(np.diff(begins).astype(np.uint32).data)
        self._files["sketches"].write(values.astype(np.uint8).data)
        self._held.append(values)
        if sum(map(len, self._held)) >= _BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is held and close the files."""
        self._flush()
        for file in self._files.values():
            file.close()

    def _flush(self) -> None:
        if self._held:
            values = np.concatenate(self._held)
            self._files["bands"].write(band_keys(values, self._bands).data)
            self._files["blocks"].write(np.uint32(len(values)).tobytes())
            self._held.clear()


def band_keys(signatures: Words, bands: int) -> npt.NDArray[np.uint64]:
    """One key a band, uint64 (bands, n), of MinHash signatures uint64 (n, permutations)."""
    rows = signatures.reshape(len(signatures), bands, -1)
    keys = np.zeros(rows.shape[:2], dtype=np.uint64)
    for value in np.moveaxis(rows, 2, 0):
        keys = (keys ^ value) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return np.ascontiguousarray(keys.T)
