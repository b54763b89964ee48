import random
import re
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.base import parse
from logfm.configs.schema.corpus import CorpusConfig, NearConfig
from logfm.corpus import Corpus, build
from logfm.corpus.dedup.shingles import shingle_sets
from logfm.corpus.dedup.signatures import bands_for
from logfm.corpus.dedup.spill import Begins
from logfm.corpus.words import pieces, words_of
from logfm.errors import UserError


def plain_shingles(text: str, size: int) -> set[tuple[bytes, ...]]:
    """The definition, word for word."""
    data = text.encode()
    words = re.findall(rb"[0-9A-Za-z_\x80-\xff]+", data) or ([data] if data else [])
    if len(words) < size:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def jaccard(left: set, right: set) -> float:
    return len(left & right) / len(left | right)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text(alphabet="ab é-_\t\n0", max_size=40) | st.text(max_size=30), min_size=1, max_size=12),
    st.integers(1, 6),
    st.integers(1, 64),
)
def test_shingle_hashes_are_equal_where_the_shingles_are(texts, size, most):
    wanted = [plain_shingles(text, size) for text in texts]
    found = []
    for piece in pieces(pa.array(texts), most):
        hashes, begins = shingle_sets(words_of(piece), size)
        found += [
            hashes[low:high].tolist() for low, high in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True)
        ]
    assert [len(one) for one in found] == [len(one) for one in wanted]
    assert all(one == sorted(set(one)) for one in found)
    for left, right in combinations(range(len(texts)), 2):
        assert len(set(found[left]) & set(found[right])) == len(wanted[left] & wanted[right])


def test_bands_find_a_pair_at_the_threshold_with_the_configured_probability():
    for threshold in (0.5, 0.8, 0.95):
        config = NearConfig(threshold=threshold)
        bands, rows = bands_for(config)
        assert bands * rows <= config.permutations
        assert 1 - (1 - threshold**rows) ** bands >= config.recall


@pytest.fixture(scope="module")
def families() -> list[str]:
    """Events of 60 families in random order: members of one differ in one to three of 40 words."""
    chosen = random.Random(7)
    vocabulary = [f"w{n}" for n in range(3000)]
    texts = []
    for _ in range(60):
        words = chosen.choices(vocabulary, k=40)
        for _ in range(20):
            variant = list(words)
            for place in chosen.sample(range(40), chosen.randint(1, 3)):
                variant[place] = chosen.choice(vocabulary)
            texts.append(" ".join(variant))
    chosen.shuffle(texts)
    return texts


@pytest.fixture(scope="module")
def near_corpus(families, tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("near")
    (folder / "logs").mkdir()
    for number in range(3):
        part = families[number * 400 : (number + 1) * 400]
        (folder / f"logs/source{number}.log").write_text("\n".join([*part, part[0]]) + "\n")
    config = CorpusConfig(dedup=("exact", "near"), shard_bytes=40_000, near=NearConfig(threshold=0.6, shingle=3))
    build([folder / "logs"], folder / "corpus", config, workers=2)
    return Corpus.open(folder / "corpus")


def texts_of(corpus: Corpus) -> list[str]:
    return [text for batch in corpus.batches(["text"]) for text in batch["text"].to_pylist()]


def test_every_removed_event_is_near_the_kept_one_that_stands_for_it(near_corpus):
    texts = texts_of(near_corpus)
    clusters = pq.read_table(near_corpus.path / "views/near_clusters.parquet").to_pylist()
    kept = set(near_corpus.kept_rows("near").tolist())
    assert len(clusters) > 500
    for cluster in clusters:
        assert cluster["kept"] in kept
        assert cluster["kept"] < cluster["row"] and cluster["row"] not in kept
        shingles = [plain_shingles(texts[cluster[name]], 3) for name in ("row", "kept")]
        assert jaccard(*shingles) >= 0.6
    assert kept | {cluster["row"] for cluster in clusters} == set(near_corpus.kept_rows("exact").tolist())


def test_near_duplicates_among_the_kept_are_few(near_corpus):
    texts = texts_of(near_corpus)
    kept = [plain_shingles(texts[row], 3) for row in near_corpus.kept_rows("near").tolist()]
    removed = len(near_corpus.kept_rows("exact")) - len(kept)
    missed = sum(any(jaccard(left, right) >= 0.6 for left in kept[:place]) for place, right in enumerate(kept))
    assert missed <= 0.05 * (removed + missed)


def test_copies_count_every_event_once(near_corpus):
    view = pq.read_table(near_corpus.path / "views/near.parquet")
    metrics = near_corpus.manifest.metrics
    assert sum(view["copies"].to_pylist()) == near_corpus.rows == 1203
    assert (metrics["unique"], metrics["duplicates"]) == (1200, 3)
    assert metrics["distinct"] == len(view) == metrics["unique"] - metrics["near_duplicates"]
    ids = [one for batch in near_corpus.batches(["event_id"], view="near") for one in batch["event_id"].to_pylist()]
    assert view["event_id"].to_pylist() == ids
    assert sum(one["distinct"] for one in metrics["sources"].values()) == metrics["distinct"]


def test_the_number_of_workers_and_the_size_of_shards_change_no_kept_id(near_corpus, families, tmp_path):
    logs = near_corpus.path.parent / "logs"
    wanted = pq.read_table(near_corpus.path / "views/near.parquet")["event_id"]
    near = NearConfig(threshold=0.6, shingle=3)
    for workers, size in ((1, 40_000), (2, 10_000), (1, 1 << 26)):
        config = CorpusConfig(dedup=("exact", "near"), shard_bytes=size, near=near)
        out = tmp_path / f"{workers}-{size}"
        build([logs], out, config, workers=workers)
        assert pq.read_table(out / "views/near.parquet")["event_id"] == wanted


def test_parts_of_the_key_space_change_nothing(near_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.corpus.dedup.clusters._PART", 50)
    monkeypatch.setattr("logfm.corpus.dedup.clusters._AT_ONCE", 300)
    config = CorpusConfig(dedup=("exact", "near"), shard_bytes=40_000, near=NearConfig(threshold=0.6, shingle=3))
    build([near_corpus.path.parent / "logs"], tmp_path / "parts", config, workers=1)
    assert np.array_equal(Corpus.open(tmp_path / "parts").kept_rows("near"), near_corpus.kept_rows("near"))


def test_short_and_wordless_events_survive(tmp_path):
    (tmp_path / "a.log").write_text("--- !!\n*** ??\nok\nok then\nok, then\n")
    build([tmp_path / "a.log"], tmp_path / "corpus", CorpusConfig(dedup=("exact", "near")))
    corpus = Corpus.open(tmp_path / "corpus")
    kept = [text for batch in corpus.batches(["text"], view="near") for text in batch["text"].to_pylist()]
    assert kept == ["--- !!", "*** ??", "ok", "ok then"]


def test_near_without_exact_is_refused():
    with pytest.raises(UserError, match="name both"):
        parse(CorpusConfig, {"dedup": ["near"]}, "options")


def test_begins_are_the_running_sum_over_files_of_any_length(tmp_path):
    random = np.random.default_rng(0)
    pieces_of_sizes = [random.integers(0, 3000, count, dtype=np.uint32) for count in (0, 1, 1023, 1, 2048, 0, 700)]
    paths = [tmp_path / f"{number}.sizes" for number in range(len(pieces_of_sizes))]
    for path, sizes in zip(paths, pieces_of_sizes, strict=True):
        sizes.tofile(path)
    every = np.concatenate(pieces_of_sizes)
    begins = Begins(paths, len(every))
    assert np.array_equal(begins.of(np.arange(len(every) + 1)), np.concatenate(([0], np.cumsum(every, dtype=np.int64))))
