"""TF-IDF, the rival that every log encoder has to beat: words weighted by rarity, reduced to a fixed width.

The vectorizer keeps its vocabulary (nothing is hashed). Dense vectors are the projection of the weighted counts on
their leading right singular vectors (latent semantic analysis, Deerwester et al., 1990); `sparse` gives the
unreduced weights, whose cosine is what TF-IDF search means.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from logfm.artifacts import digest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.errors import UserError
from logfm.extras import require

_TERMS = "tfidf.json"
_ARRAYS = "tfidf.npz"


@dataclass(frozen=True, eq=False)
class _Fitted:
    vectorizer: Any
    terms: list[str]
    idf: np.ndarray
    """float64 (terms,)."""
    components: np.ndarray
    """float32 (dim, terms)."""
    hash: str


@dataclass(eq=False)
class TfidfBackend:
    """TF-IDF that is fitted on texts before it encodes."""

    config: EncoderConfig
    dim: int
    _fitted: _Fitted | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def needs_fit(self) -> bool:
        """Whether `fit` is still due."""
        return self._fitted is None

    @property
    def hash(self) -> str:
        """Identity of terms, weights and projection.

        Raises:
            UserError: not fitted.
        """
        return self._state.hash

    @property
    def _state(self) -> _Fitted:
        if self._fitted is None:
            raise UserError("tfidf has not been fitted", fix="Call fit(texts) first.")
        return self._fitted

    def fit(self, texts: list[str]) -> None:
        """Learn terms, weights and projection from texts; the first fit stays.

        Raises:
            UserError: no text holds a word.
        """
        with self._lock:
            if self._fitted is None:
                self._fitted = _fit(texts, self.config)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Dense vectors (float32 (n, dim)), zero where no term is known; nothing is cut."""
        return np.asarray(self.sparse(texts) @ self._state.components.T, dtype=np.float32), 0

    def sparse(self, texts: list[str]) -> Any:
        """Unreduced weights, float32 scipy CSR (n, terms) with rows of length 1: `a @ b.T` is their cosine."""
        return self._state.vectorizer.transform(texts)

    def save(self, folder: Path) -> None:
        """Write terms and arrays into a folder, which then is an encoder's URI."""
        state = self._state
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TERMS).write_bytes(orjson.dumps({"format": 1, "terms": state.terms}))
        np.savez(folder / _ARRAYS, idf=state.idf, components=state.components)


def new_tfidf(uri: str, config: EncoderConfig) -> TfidfBackend:
    """Open `tfidf`, not fitted."""
    require("sklearn", "embed")
    return TfidfBackend(config, config.tfidf_dim)


def open_tfidf(uri: str, config: EncoderConfig) -> TfidfBackend:
    """Open a folder that `TfidfBackend.save` wrote.

    Raises:
        UserError: damaged.
    """
    require("sklearn", "embed")
    folder = Path(uri)
    try:
        terms = orjson.loads((folder / _TERMS).read_bytes())["terms"]
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            idf, components = arrays["idf"], arrays["components"]
        if idf.shape != (len(terms),) or components.ndim != 2 or components.shape[1] != len(terms):
            raise ValueError("terms and arrays differ in number")
        return TfidfBackend(config, len(components), _state(terms, idf, components, config))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"damaged tfidf encoder ({type(error).__name__})", folder) from error


def _fit(texts: list[str], config: EncoderConfig) -> _Fitted:
    from sklearn.utils.extmath import randomized_svd

    vectorizer = _vectorizer(config)
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError("tfidf needs texts that hold words") from error
    rank = min(config.tfidf_dim, *weights.shape)
    _, _, found = randomized_svd(weights, n_components=rank, random_state=0)
    components = np.zeros((config.tfidf_dim, weights.shape[1]), dtype=np.float32)
    components[:rank] = found
    return _state(vectorizer.get_feature_names_out().tolist(), vectorizer.idf_, components, config)


def _state(terms: list[str], idf: np.ndarray, components: np.ndarray, config: EncoderConfig) -> _Fitted:
    vectorizer = _vectorizer(config, terms)
    vectorizer.idf_ = idf
    content = {"terms": terms, "idf": idf.astype("<f8").tobytes().hex(), "dim": len(components)}
    return _Fitted(vectorizer, terms, idf, components, digest({**content, "components": _digest(components)}))


def _vectorizer(config: EncoderConfig, vocabulary: list[str] | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(max_features=config.tfidf_terms, vocabulary=vocabulary, dtype=np.float32)


def _digest(array: np.ndarray) -> str:
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(array, dtype="<f4").tobytes()).hexdigest()
