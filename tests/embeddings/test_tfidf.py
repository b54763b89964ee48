"""TF-IDF as an encoder."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from tests.embeddings.samples import log_lines


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_it_has_no_identity_before_it_is_fitted():
    encoder = LogEncoder.load("tfidf")
    assert encoder.needs_fit
    assert encoder.encode([]).shape == (0, 256)
    with pytest.raises(UserError, match="not been fitted"):
        _ = encoder.hash


def test_sparse_is_scikit_learns_own():
    lines = log_lines(200)
    encoder = LogEncoder.load("tfidf")
    encoder.fit(lines)
    expected = TfidfVectorizer().fit_transform(lines)
    assert abs(encoder.backend.sparse(lines) - expected).max() < 1e-6


def test_dense_keeps_the_cosines_where_the_width_allows_it():
    lines = log_lines(100)
    encoder = LogEncoder.load("tfidf")
    dense = encoder.encode(lines)
    assert not encoder.needs_fit
    assert dense.shape == (100, 256)
    sparse = encoder.backend.sparse(lines)
    assert np.abs(cosines(dense) - (sparse @ sparse.T).toarray()).max() < 1e-4


def test_it_is_saved_and_opened_the_same(tmp_path):
    lines = log_lines(150)
    encoder = LogEncoder.load("tfidf", EncoderConfig(tfidf_dim=16))
    encoder.fit(lines)
    encoder.backend.save(tmp_path / "encoder")
    opened = LogEncoder.load(tmp_path / "encoder")
    assert opened.dim == 16
    assert opened.hash == encoder.hash
    assert np.array_equal(opened.encode(lines), encoder.encode(lines))
    other = LogEncoder.load("tfidf", EncoderConfig(tfidf_dim=16))
    other.fit(lines[:100])
    assert other.hash != encoder.hash


def test_a_damaged_one_is_refused(tmp_path):
    encoder = LogEncoder.load("tfidf")
    encoder.fit(log_lines(50))
    encoder.backend.save(tmp_path)
    (tmp_path / "tfidf.json").write_text('{"terms": ["one"]}')
    with pytest.raises(UserError, match="damaged tfidf"):
        LogEncoder.load(tmp_path)
    (tmp_path / "tfidf.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged tfidf"):
        LogEncoder.load(tmp_path)


def test_texts_without_words():
    with pytest.raises(UserError, match="hold words"):
        LogEncoder.load("tfidf").encode(["--", "", "!"])
    encoder = LogEncoder.load("tfidf")
    encoder.fit(["one word"])
    assert encoder.encode(["", "unheard of", "word"]).any(axis=1).tolist() == [False, False, True]
