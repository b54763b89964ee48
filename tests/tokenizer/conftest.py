from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus.store import Corpus
from logfm.tokenizer import LogTokenizer, train
from tests.tokenizer.samples import json_lines, linux_lines, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rows = [(text, "linux") for text in linux_lines(3000)] + [(text, "windows") for text in json_lines(1500)]
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c", rows, licences=["MIT"])


@pytest.fixture(scope="session")
def folder(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "t"
    train(corpus, out, TokenizerConfig(vocab_size=1024))
    return out


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> LogTokenizer:
    return LogTokenizer.load(folder)


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Corpus]:
    def make(rows: Iterable[tuple[str, str]], name: str = "corpus", **options: Iterable[int]) -> Corpus:
        return write_corpus(tmp_path / name, rows, **options)

    return make
