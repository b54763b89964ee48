"""Subsampling, patterns, runtime."""

import numpy as np
import orjson
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.contestants import Random, Tfidf
from logfm.evaluation.tasks import patterns, runtime, subsampling
from tests.evaluation.tasks.conftest import Known, make_data


def test_a_good_choice_shows_more(scores):
    """Eleven kinds, one of which makes up nine tenths: who tells kinds apart chooses ten of them."""
    kinds = ["same"] * 90 + [f"kind{n}" for n in range(10)]
    texts = [f'{{"kind":"{kind}","n":{number % 2},"id":"{number}"}}' for number, kind in enumerate(kinds)]
    names = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    apart = Known("apart", lambda text: np.eye(12)[names[orjson.loads(text)["kind"]]])
    found = scores(subsampling, apart, make_data(texts=texts))
    # Of eleven kinds ten are shown, with ten ids and two values of n.
    assert found[""]["entities"].value == 22
    assert found["baseline random choice"]["entities"].value < 22
    assert set(found) == {"", "baseline random choice", "baseline TF-IDF + k-means"}


def test_levenshtein_of_two(scores):
    texts = ["abcd", "abce", "wxyz"] * 2 + [f"abc{letter}" for letter in "fghi"]
    found = scores(subsampling, Known("k", lambda text: [text[0] == "w", 0.1]), make_data(texts=texts), chosen=2)
    assert found[""]["levenshtein"].value == 4.0 and found[""]["levenshtein_normalised"].value == 1.0
    assert found[""]["characters"].value == 4.0 and found[""]["entities"].value == 2
    with pytest.raises(UserError, match="too few"):
        scores(subsampling, Random("r"), make_data(texts=texts), chosen=4)


def test_halves_are_those_of_all_contestants(scores):
    texts = [f"{n % 7} {n % 5} line {n}" for n in range(80)]
    one, same, other = (
        scores(subsampling, Random(name, dim), make_data(texts=texts))[""]["entities"]
        for name, dim in (("a", 64), ("b", 64), ("c", 32))
    )
    assert np.array_equal(one.replicates, same.replicates) and not np.array_equal(one.replicates, other.replicates)
    assert one.low <= one.value <= one.high and one.replicates.mean() == pytest.approx(one.value)


def test_sparse_vectors_keep_their_distances():
    texts = [f"word{n} other{n % 3} more{n * 7 % 5}" for n in range(12)]
    sparse = Tfidf("t").encode(texts, texts)
    dense = subsampling._dense(sparse, 12)
    assert dense.shape == (12, 12) and sparse.shape[1] > 12
    assert np.allclose(dense @ dense.T, (sparse @ sparse.T).toarray(), atol=1e-5)


@pytest.fixture
def table():
    """700 rows of two sources; one row in ten is odd in its column and its text."""
    odd = [n % 10 == 0 for n in range(700)]
    texts = [f"{'strange thing happened' if one else 'all is well here'} {n}" for n, one in enumerate(odd)]
    return make_data(
        texts=texts,
        labels=np.array(odd, dtype=np.int8),
        sources=["a" if n < 600 else "b" for n in range(700)],
        records=[{"level": "odd" if one else "fine", "half": str(n % 2)} for n, one in enumerate(odd)],
    )


def test_patterns_finds_what_stands_out(scores, table):
    knows = Known("knows", lambda text: [1.0 if "strange" in text else 0.0, 0.001 * int(text.split()[-1] or 0)])
    found = scores(patterns, knows, table)
    assert {name: found[name]["hits"].value for name in found if name} == {
        "label encoding": 1.0, "embeddings": 1.0, "hybrid": 1.0,
    }  # fmt: skip
    # Two per cent of the second source's rows are less than five, so it makes no table.
    assert found[""]["anomalous"].value == pytest.approx(11 / 551) and found[""]["anomalous"].note == "tables: a"


def test_chance_hits_seldom(scores, table):
    found = scores(patterns, Random("random"), table)
    assert found["embeddings"]["hits"].value < 0.7


def test_average_precision_is_scikit_learns():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    scores, marks = rng.integers(9, size=60).astype(float), rng.random(60) < 0.2
    weights = rng.integers(4, size=(3, 60)).astype(float)
    expected = [average_precision_score(marks, scores, sample_weight=one) for one in weights]
    assert patterns._average_precision(scores, marks, weights) == pytest.approx(expected)


def test_one_table_alone_is_not_certain(scores, table):
    """Hits of a single table carry the chance of which anomalies it holds; one kind of anomaly says nothing of it."""
    letters = [f"{text} {chr(97 + n // 10 % 20) * 3}" for n, text in enumerate(table.texts)]
    many = make_data(texts=letters, labels=table.labels, sources=table.sources, records=table.records)
    found = scores(patterns, Known("k", lambda text: [int(text.split()[-2]) % 97]), many)["embeddings"]
    assert len(set(found["average_precision"].replicates.tolist())) > 10
    assert found["average_precision"].low < found["average_precision"].high
    assert found["hits"].clusters == 5 < found["average_precision"].clusters <= 12
    alone = scores(patterns, Known("k", lambda text: [int(text.split()[-1] or 0) % 97]), table)["embeddings"]
    assert alone["hits"].clusters == 1 and not alone["hits"].replicates.size and np.isnan(alone["hits"].low)


def test_equal_texts_of_a_table_have_the_label_of_most_of_them():
    data = make_data(
        texts=["a", "a", "a", "b", "b", "c", "a"], labels=np.array([1, 1, 0, 1, 0, 1, 0], dtype=np.int8),
        sources=["s"] * 6 + ["t"],
    )  # fmt: skip
    found = patterns._anomalous(data, patterns._names(data))
    assert found.tolist() == [True, True, True, False, False, True, False]


def test_anomalies_are_thinned_and_types_take_turns(table):
    labels = np.array([0] * 900 + [1] * 100, dtype=np.int8)
    classes = [""] * 900 + ["common"] * 97 + ["rare"] * 3
    data = make_data(texts=[str(n) for n in range(1000)], labels=labels, classes=classes, sources=["s"] * 1000)
    (rows,) = patterns._tables(data, patterns._names(data), labels == 1, 500, seed=3).values()
    chosen = rows[labels[rows] == 1]
    assert len(rows) == 500 and len(chosen) == 10
    assert sum(classes[row] == "rare" for row in chosen) == 3


def test_patterns_needs_both_classes(scores, table):
    with pytest.raises(UserError, match="needs labels"):
        scores(patterns, Random("r"), make_data(texts=["a"]))
    with pytest.raises(UserError, match="no source has"):
        scores(patterns, Random("r"), make_data(texts=["a"] * 50, labels=np.zeros(50, dtype=np.int8)))


def test_runtime_counts_and_bands(scores):
    texts = [f"{'word ' * (1 + n % 3)}{n}" for n in range(30)] + [f"{'long ' * 60}{n}" for n in range(30)]
    found = scores(runtime, Tfidf("TF-IDF"), make_data(texts=texts), lines=20, single=5)
    assert set(found) == {"", "0 to 128 bytes", "128 to 512 bytes"}
    assert found[""]["lines_per_second"].count == 20 and found[""]["p50_ms"].count == 5
    assert found[""]["p99_ms"].value >= found[""]["p50_ms"].value > 0
    assert all(one["lines_per_second"].value > 0 for one in found.values())
    assert "p50_ms" not in found["0 to 128 bytes"]
    short = found["0 to 128 bytes"]
    words = short["tokens_per_minute"].value / 60 / short["lines_per_second"].value
    assert 2 <= words <= 4
    with pytest.raises(UserError, match="too few"):
        scores(runtime, Tfidf("TF-IDF"), make_data(texts=["a b"] * 40))
