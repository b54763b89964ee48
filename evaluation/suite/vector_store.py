"""Vectors on disk, by encoder and text: what one task encoded, the next one reads.

A store is a folder of pairs of files: `NAME.keys.npy`, uint8 (n, 16), hashes of texts, and `NAME.rows.npy`,
float32 (n, dim). The keys appear last, so a killed writer leaves nothing that is read.
"""

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logfm.artifacts import write_atomic

Vectors = NDArray[np.float32]
_CHUNK = 4096
"""Texts that are encoded before their vectors are saved: what a killed run encodes again at most."""


class VectorStore:
    """The vectors of one encoder; several processes may share its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[bytes, tuple[Vectors, int]] = {}
        self._known: set[Path] = set()

    def encode(self, texts: Sequence[str], encode: Callable[[list[str]], Vectors]) -> Vectors:
        """Vectors (len(texts), dim), read from disk or made by `encode`, which gets each missing text once."""
        self._look()
        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._places}
        # Like lengths together: an encoder pads a batch to its longest text.
        todo = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(todo), _CHUNK):
            part = todo[start : start + _CHUNK]
            self._add(part, np.ascontiguousarray(encode([missing[key] for key in part]), dtype=np.float32))
        if not keys:
            return np.asarray(encode([]), dtype=np.float32)
        return np.stack([rows[number] for rows, number in map(self._places.__getitem__, keys)])

    def _look(self) -> None:
        for path in sorted(self.folder.glob("*.keys.npy")):
            if path not in self._known:
                rows = np.load(path.with_name(path.name.replace(".keys.", ".rows.")), mmap_mode="r")
                self._remember(path, [bytes(key) for key in np.load(path)], rows)

    def _add(self, keys: list[bytes], rows: Vectors) -> None:
        name = hashlib.blake2b(b"".join(keys), digest_size=12).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.keys.npy"
        write_atomic(self.folder / f"{name}.rows.npy", _npy(rows))
        write_atomic(path, _npy(np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)))
        self._remember(path, keys, rows)

    def _remember(self, path: Path, keys: list[bytes], rows: Vectors) -> None:
        self._known.add(path)
        for number, key in enumerate(keys):
            self._places.setdefault(key, (rows, number))


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _npy(array: NDArray[np.generic]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
