"""Data sets and contestants whose scores are known beforehand."""

from collections.abc import Sequence

import numpy as np
import pytest

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.suite.task import Data
from tests.embeddings.samples import log_lines, write_log
from tests.evaluation.anomaly.samples import Words


class Known:
    """A contestant that is given its vectors by a function of the text; keeps what it was given."""

    pretrained = layered = None
    hash = "known"

    def __init__(self, name, vector):
        self.name, self.vector, self.seen, self.fitted = name, vector, [], []

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()):
        self.seen.append(list(texts))
        self.fitted.append(list(fit_on))
        return np.array([self.vector(text) for text in texts], dtype=np.float32)


def make_data(**columns) -> Data:
    spec = DataSpec(name="made", title="t", source="s", licence="l", tasks=("search",), path="simulated:0", split="s",
                    leakage="l", options=columns.pop("options", {}))  # fmt: skip
    return Data(spec=spec, hash=columns.pop("hash", "made"), **columns)


KINDS = ("alpha", "beta", "gamma", "delta")


def one_hot(text):
    return np.eye(len(KINDS))[next(i for i, kind in enumerate(KINDS) if kind in text)]


def chance(text):
    return np.random.default_rng(list(text.encode())).normal(size=64)


@pytest.fixture
def lines():
    """96 lines of four templates; each has six wordings and each wording four lines that differ in a value."""
    verbs = ("saw", "met", "lost", "found", "heard", "left")
    texts = [f"{verbs[n % 6]} {KINDS[n // 6 % 4]} at 10.0.0.{n}" for n in range(96)]
    return make_data(texts=texts, templates=[text.split()[1] for text in texts], sources=["s"] * 96)


@pytest.fixture
def knows():
    return Known("knows", one_hot)


@pytest.fixture
def guesses():
    return Known("guesses", chance)


@pytest.fixture
def scores():
    """Metrics by condition, of a task's run."""

    def run(task, contestant, data, seed=0, **options):
        found = {}
        for one in task.run(contestant, data, seed, dict(task.META.caps) | options):
            assert one.metric in task.META.metrics
            found.setdefault(one.condition, {})[one.metric] = one
        return found

    return run


@pytest.fixture(scope="session")
def ours(tmp_path_factory):
    """A contestant over a tiny encoder of ours with random weights."""
    from logfm.configs.schema.pretrain import ModelConfig
    from logfm.configs.schema.tokenizer import TokenizerConfig
    from logfm.corpus import Corpus, build
    from logfm.embeddings import LogEncoder
    from logfm.pretrain.export import write_encoder
    from logfm.pretrain.model import build as build_model
    from logfm.tokenizer import LogTokenizer, train

    root = tmp_path_factory.mktemp("encoder")
    build([write_log(root / "app.log", log_lines(300))], root / "corpus", workers=1)
    train(Corpus.open(root / "corpus"), root / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=448))
    tokenizer = LogTokenizer.load(root / "tokenizer")
    config = ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_tokens=128)
    (root / "encoder").mkdir()
    write_encoder(build_model(config, tokenizer.vocab_size, tokenizer.pad_id, seed=0), tokenizer, 128, root / "encoder")
    contestant = Words()
    contestant.pretrained = contestant.layered = LogEncoder.load(root / "encoder")
    contestant.encode = lambda texts, fit_on=(): contestant.pretrained.encode(texts)
    return contestant
