"""Search by words and by both: what an analyst types exactly is found, with or without a name for it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings import Index
from logfm.embeddings import search as module
from logfm.embeddings.index import add, build, search
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

ADDRESS = "10.3.5.8"
LINE = f"Jan  5 11:30:00 host1 sshd[47]: reverse mapping checking getaddrinfo for gate.example [{ADDRESS}] failed"


@pytest.fixture
def index(tmp_path, letters):
    """401 events in two segments; one of them comes from ADDRESS."""
    lines = log_lines(400)
    assert all(ADDRESS not in line for line in lines)
    write_log(tmp_path / "app.log", [*lines[:200], LINE, *lines[200:300]])
    build([tmp_path / "app.log"], letters, tmp_path / "index")
    write_log(tmp_path / "app.log", [*lines[:200], LINE, *lines[200:]])
    add(tmp_path / "index", [tmp_path / "app.log"])
    return Index.open(tmp_path / "index")


def test_an_exact_address_is_found_where_vectors_alone_rank_it_low(index):
    by_vectors = [hit.text for hit in index.search(ADDRESS, k=401, mode="vector")]
    assert by_vectors.index(LINE) >= 10
    assert index.search(ADDRESS, k=3, mode="bm25")[0].text == LINE
    hits = index.search(ADDRESS, k=3, mode="hybrid")
    assert hits[0].text == LINE
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_an_address_in_a_sentence(index):
    hits = index.search(f"which mapping failed for {ADDRESS}", k=3, mode="hybrid")
    assert LINE in [hit.text for hit in hits]


def test_hybrid_finds_what_no_word_of_the_query_names(index):
    query = "zzz qqq"
    assert index.search(query, k=5, mode="bm25") == []
    by_vectors = [hit.event_id for hit in index.search(query, k=5, mode="vector")]
    assert [hit.event_id for hit in index.search(query, k=5, mode="hybrid")] == by_vectors


@pytest.mark.parametrize("mode", ["vector", "bm25", "hybrid"])
def test_several_queries_and_filters_in_every_mode(index, mode):
    queries = [*log_lines(300)[::50], ADDRESS]
    together = index.search_texts(queries, k=4, mode=mode)
    for query, hits in zip(queries, together, strict=True):
        alone = index.search(query, k=4, mode=mode)
        assert [hit.event_id for hit in hits] == [hit.event_id for hit in alone]
        assert np.allclose([hit.score for hit in hits], [hit.score for hit in alone], atol=1e-5)
    assert index.search_texts([], mode=mode) == []
    year = together[0][0].timestamp.year
    since, until = datetime(year, 1, 5, 10, 2, tzinfo=UTC), datetime(year, 1, 5, 10, 3, tzinfo=UTC)
    hits = index.search("session", k=500, where="host = 'host2'", since=since, until=until, mode=mode)
    expected = [line for line in log_lines(400) if " 10:02:" in line and " host2 " in line]
    assert sorted(hit.text for hit in hits) == sorted(expected)
    assert index.search("session", where="host = 'nobody'", mode=mode) == []


def test_a_condition_on_the_present_time_is_asked_each_time(index, monkeypatch):
    asked = []
    right = module.matching
    monkeypatch.setattr(module, "matching", lambda *given: asked.append(given) or right(*given))
    for _ in range(2):
        assert index.search("session", where="timestamp > now()") == []
        assert len(index.search("session", k=500, where="timestamp < now()")) == 401
    assert len(asked) == 8


def test_a_large_batch_is_the_same_as_its_queries_alone(index):
    vectors = index.encoder.encode(log_lines(700, seed=5))
    together = index.search_vectors(vectors, k=3)
    assert len(together) == 700
    for row in (0, 350, 699):
        assert [hit.event_id for hit in index.search_vectors(vectors[row : row + 1], k=3)[0]] == [
            hit.event_id for hit in together[row]
        ]


def test_an_index_without_words_says_so(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(20))
    manifest = build([log], letters, tmp_path / "index", IndexConfig(bm25=False))
    assert not any("bm25" in name for name in manifest.outputs)
    for mode in ("bm25", "hybrid"):
        with pytest.raises(UserError, match="built without words"):
            search(tmp_path / "index", "a", mode=mode)
    with pytest.raises(UserError, match="no such way to search: words"):
        search(tmp_path / "index", "a", mode="words")
    assert search(tmp_path / "index", "session", k=3) == search(tmp_path / "index", "session", k=3, mode="vector")


def test_both_ways_at_once_are_the_default_where_there_are_words(tmp_path, letters):
    build([write_log(tmp_path / "app.log", log_lines(20))], letters, tmp_path / "index")
    opened = Index.open(tmp_path / "index", letters)
    assert opened.usual_mode == "hybrid"
    found = {mode: opened.search("session opened", k=5, mode=mode) for mode in (None, "hybrid", "vector")}
    assert found[None] == found["hybrid"] != found["vector"]
    assert opened.search_texts(["session opened"], k=5) == [found[None]]
    assert search(tmp_path / "index", "session opened", k=5, encoder=letters) == found[None]


def test_events_without_a_word(tmp_path, letters):
    log = write_log(tmp_path / "app.log", ["!!!", "---", "..."])
    build([log], letters, tmp_path / "index")
    assert search(tmp_path / "index", "a", mode="bm25") == []
    assert len(search(tmp_path / "index", "a", mode="hybrid")) == 3


def test_damaged_words_are_refused(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(20))
    build([log], letters, tmp_path / "index")
    path = tmp_path / "index" / "segment-000001" / "bm25-0000.weights.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(UserError, match="a file has changed"):
        search(tmp_path / "index", "a", mode="bm25")
