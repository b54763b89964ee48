"""What every table is measured against: TF-IDF, which needs no training, and random vectors, which need nothing."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from logfm.errors import UserError
from logfm.evaluation.vectors import Encode, Matrix
from logfm.extras import require

_WORDS = {"words": r"\S+", "letters": r"[A-Za-z]+"}


def tfidf(fit_on: Sequence[str], tokens: Literal["words", "letters"] = "words") -> Encode:
    """TF-IDF over raw lines, fitted on `fit_on` only: hand it lines that are not evaluated as queries or pairs.

    "words" splits at white space; "letters" keeps runs of letters, which drops the numbers that vary within a
    template and makes the stronger baseline on system logs. Vectors are sparse (n, vocabulary), rows of length 1;
    a line without a known token is a zero row.

    Raises:
        UserError: scikit-learn is not installed, or `fit_on` holds no token.
    """
    text = require("sklearn.feature_extraction.text", "embed")
    vectorizer = text.TfidfVectorizer(token_pattern=_WORDS[tokens])
    try:
        vectorizer.fit(fit_on)
    except ValueError as error:
        raise UserError("TF-IDF found no words in the lines it may be fitted on") from error

    def encode(texts: Sequence[str]) -> Matrix:
        return vectorizer.transform(texts)

    return encode


def random_vectors(dim: int = 256, seed: int = 0) -> Encode:
    """Normal vectors, float32 (n, dim), that depend on the seed and the text alone: equal texts get equal vectors."""

    def encode(texts: Sequence[str]) -> Matrix:
        rows = np.empty((len(texts), dim), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            rng = np.random.default_rng([seed, int.from_bytes(key, "little")])
            row[:] = rng.standard_normal(dim, dtype=np.float32)
        return rows

    return encode
