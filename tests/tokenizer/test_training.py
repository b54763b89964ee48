"""Training: equal shares, one result for any number of threads, and one-line errors."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from logfm.artifacts import Manifest
from logfm.configs.schema.tokenizer import ExtensionConfig, TokenizerConfig
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import LogTokenizer, extend, train
from logfm.tokenizer.files import FILES
from logfm.tokenizer.sampling import draw, equal_shares
from tests.tokenizer.samples import json_lines, linux_lines

MakeCorpus = Callable[..., Corpus]


def test_manifest_says_what_was_drawn(folder: Path, corpus: Corpus) -> None:
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert manifest.stage == "tokenizer" and manifest.licences == ["MIT"]
    assert manifest.inputs == {"corpus": corpus.manifest.hash}
    sizes = {"linux": 0, "windows": 0}
    for batch in corpus.batches(["text", "source"]):
        for row in batch.to_pylist():
            sizes[row["source"]] += len(row["text"].encode())
    assert sizes["linux"] < sizes["windows"] == manifest.metrics["sampled_bytes"]["windows"]
    assert sizes["linux"] < manifest.metrics["sampled_bytes"]["linux"] < sizes["windows"] * 1.05
    assert manifest.metrics["vocab_size"] == 1024
    facts = LogTokenizer.load(folder).facts
    assert facts.corpus_hash == corpus.manifest.hash and facts.policy_name.startswith("digits=")


@pytest.mark.parametrize(
    ("sizes", "budget", "shares"),
    [
        ({"a": 100, "b": 100}, 60, {"a": 30, "b": 30}),
        ({"a": 1000, "b": 10, "c": 1000}, 110, {"a": 50, "b": 10, "c": 50}),
        ({"a": 5, "b": 5}, 100, {"a": 5, "b": 5}),
        ({"a": 0, "b": 9}, 4, {"a": 0, "b": 4}),
        ({}, 10, {}),
    ],
)
def test_equal_shares(sizes: dict[str, int], budget: int, shares: dict[str, int]) -> None:
    assert equal_shares(sizes, budget) == shares


def test_draw_is_equal_random_and_seeded(make_corpus: MakeCorpus) -> None:
    rows = [(f"{n:08d}", "large") for n in range(20_000)] + [(f"{n:08d}", "small") for n in range(2_000)]
    corpus = make_corpus(rows)
    drawn = []
    for seed in (1, 1, 2):
        sample = draw(corpus, 16_000, seed)
        drawn.append(list(sample.parts()))
        assert all(abs(taken - 8_000) < 1_200 for taken in sample.drawn.values())
        assert sum(sample.drawn.values()) == sum(map(len, drawn[-1]))
    assert drawn[0] == drawn[1] != drawn[2]
    large = [int(text) for text in drawn[0][:500]]
    assert max(large) - min(large) > 8_000


def test_small_sources_are_repeated_to_match(make_corpus: MakeCorpus) -> None:
    rows = [(f"{n:08d}", "large") for n in range(1000)] + [(f"{n:08d}", "small") for n in range(100)]
    sample = draw(make_corpus(rows), 2**20, 0, max_repeats=4)
    texts = list(sample.parts())
    assert sample.drawn == {"large": 8_000, "small": 3_200}
    assert texts.count("00000001") == 1 + 4
    sample = draw(make_corpus(rows, name="again"), 3_200, 0, max_repeats=4)
    list(sample.parts())
    assert abs(sample.drawn["small"] - 1_600) <= 800 and abs(sample.drawn["large"] - 1_600) < 500


def test_duplicates_are_left_out(make_corpus: MakeCorpus) -> None:
    corpus = make_corpus([("once", "a"), ("twice", "a"), ("twice", "a")], view=[0, 1])
    assert list(draw(corpus, 100, 0).parts()) == ["once", "twice"]


def test_a_giant_line_is_fed_in_parts(make_corpus: MakeCorpus) -> None:
    text = "payload " * 30_000
    parts = list(draw(make_corpus([(text, "a")]), 2**20, 0).parts())
    assert "".join(parts) == text and max(map(len, parts)) == 2**16


@pytest.mark.parametrize("threads", ["1", "3"])
def test_same_seed_gives_the_same_bytes(corpus: Corpus, folder: Path, tmp_path: Path, threads: str) -> None:
    script = (
        "import sys; from pathlib import Path; from logfm.tokenizer import train\n"
        "from logfm.corpus.store import Corpus; from logfm.configs.schema.tokenizer import TokenizerConfig\n"
        "train(Corpus.open(sys.argv[1]), Path(sys.argv[2]), TokenizerConfig(vocab_size=1024))"
    )
    environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    command = [sys.executable, "-c", script, str(corpus.path), str(tmp_path / "t")]
    subprocess.run(command, check=True, env=environment)
    for name in FILES:
        assert (tmp_path / "t" / name).read_bytes() == (folder / name).read_bytes()


def test_another_seed_draws_other_text(corpus: Corpus, tmp_path: Path) -> None:
    hashes = set()
    for seed in (0, 1):
        config = TokenizerConfig(vocab_size=320, sample_bytes=100_000, seed=seed, min_frequency=2)
        train(corpus, tmp_path / str(seed), config)
        hashes.add(LogTokenizer.load(tmp_path / str(seed)).hash)
    assert len(hashes) == 2


def test_finished_work_is_kept(corpus: Corpus, folder: Path) -> None:
    before = (folder / "manifest.json").stat().st_mtime_ns
    train(corpus, folder, TokenizerConfig(vocab_size=1024))
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another tokenizer run"):
        train(corpus, folder, TokenizerConfig(vocab_size=1088))


def test_auto_takes_what_the_corpus_bears(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus([(text, "a") for text in linux_lines(400)])
    train(corpus, tmp_path / "auto", TokenizerConfig(vocab_size="auto"))
    size = LogTokenizer.load(tmp_path / "auto").vocab_size
    assert size % 64 == 0 and 320 <= size < 29_952
    with pytest.raises(UserError, match=f"the largest that works is {size}") as caught:
        train(corpus, tmp_path / "large", TokenizerConfig(vocab_size=29_952))
    assert "\n" not in str(caught.value)
    train(corpus, tmp_path / "largest", TokenizerConfig(vocab_size=size))
    assert LogTokenizer.load(tmp_path / "largest").hash == LogTokenizer.load(tmp_path / "auto").hash
    with pytest.raises(UserError):
        train(corpus, tmp_path / "larger", TokenizerConfig(vocab_size=size + 64))


def test_auto_is_limited(corpus: Corpus, tmp_path: Path) -> None:
    train(corpus, tmp_path / "t", TokenizerConfig(vocab_size="auto", vocab_size_limit=640))
    assert LogTokenizer.load(tmp_path / "t").vocab_size == 640


@pytest.mark.parametrize("rows", [[], [("", "a")], [("x", "a")]])
def test_too_little_text(make_corpus: MakeCorpus, tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    for size in ("auto", 320):
        with pytest.raises(UserError, match="too little text"):
            train(make_corpus(rows, name=f"c{size}"), tmp_path / "t", TokenizerConfig(vocab_size=size))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("size", [0, -64, 256, 260, 1000, 2**21, "large", "", True, 512.0, None])
def test_impossible_vocabulary_sizes(size: object) -> None:
    with pytest.raises(ValidationError):
        TokenizerConfig(vocab_size=size)


def test_hostile_text_trains(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    texts = ["\0" * 9999, "[MASK]" * 999, "9" * 99_999, "😀" * 999, "a\0b\0" * 999, "\x1b[2J" * 99] * 5
    corpus = make_corpus([(text, "a") for text in [*texts, *linux_lines(200)]])
    train(corpus, tmp_path / "t", TokenizerConfig(vocab_size="auto"))
    tokenizer = LogTokenizer.load(tmp_path / "t")
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)] == texts
    assert tokenizer.byte_lengths.max() <= 4 * 64


def test_extension_keeps_existing_ids(tokenizer: LogTokenizer, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    vendors = [
        "Imperva|SecureSphere|Audit.DAM",
        "Fortinet|Fortigate|traffic:forward",
        "Zscaler|NSSWeblog|Blocked",
    ]
    new = [f"CEF:0|{vendor}|deviceExternalId=FGT|categoryOutcome=Success" for vendor in vendors] * 20
    corpus = make_corpus([(text, "waf") for text in new + linux_lines(50)])
    extend(tokenizer, corpus, tmp_path / "t", ExtensionConfig(add=64))
    extended = LogTokenizer.load(tmp_path / "t")
    assert extended.vocab_size == tokenizer.vocab_size + 64
    assert extended.tokens(range(tokenizer.vocab_size)) == tokenizer.tokens(range(tokenizer.vocab_size))
    assert (extended.delimiter_mask[: tokenizer.vocab_size] == tokenizer.delimiter_mask).all()
    assert extended.hash != tokenizer.hash and extended.facts.extends == tokenizer.hash
    text = new[0]
    assert "CEF" in extended.tokens(extended.encode_batch([text])[0])
    assert len(extended.encode_batch([text])[0]) < 0.7 * len(tokenizer.encode_batch([text])[0])
    for line in [*linux_lines(20, seed=5), *json_lines(20, seed=5), text]:
        ids = extended.encode_batch([line])[0]
        assert extended.decode(ids) == line
        parts = [extended.decode([index]) for index in ids]
        assert "".join(parts) == line


def test_extension_beyond_the_corpus(tokenizer: LogTokenizer, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus([("one short line", "a")])
    with pytest.raises(UserError, match="fewer than the 64 asked"):
        extend(tokenizer, corpus, tmp_path / "t", ExtensionConfig(add=64))
