"""A small corpus, tokenizer and configuration, made for the tests."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.artifacts import produce
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus.contamination import INDEX, write_index, write_part
from logfm.corpus.events import SCHEMA
from logfm.corpus.store import Corpus
from logfm.corpus.templates import template_hashes
from logfm.tokenizer import train


def write_corpus(folder, texts, sources=None, times=True, licence="CC0-1.0"):
    """A corpus artifact in the layout that `logfm.corpus.Corpus` reads."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    rows = [
        dict.fromkeys(SCHEMA.names)
        | {"event_id": f"{i:08x}", "text": text, "source": sources[i] if sources else "app", "file": "app.log",
           "offset": i, "timestamp": start + timedelta(seconds=i) if times else None}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    with produce(folder, stage="corpus", config={}, inputs={"texts": str(hash(tuple(texts)))}) as work:
        work.licences.add(licence)
        for name in ("events", "views"):
            (work.path / name).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), work.path / "events" / "part-00000.parquet")
        first = sorted({text: i for i, text in reversed(list(enumerate(texts)))}.values())
        view = {"row": pa.array(first, pa.int64()), "copies": pa.array([1] * len(first), pa.int32())}
        pq.write_table(pa.table(view), work.path / "views" / "exact.parquet")
        write_part([template_hashes(pa.array(texts))], folder.parent / "templates")
        write_index([folder.parent / "templates"], work.path / INDEX)
    return Corpus.open(folder)


def log_lines(count, seed=0):
    """Lines with structure that a model can learn."""
    rng = np.random.default_rng(seed)
    users, verbs = ["root", "alice", "bob", "mallory"], ["opened", "closed", "refused"]
    return [
        f"Jan  5 10:{i // 60 % 60:02d}:{i % 60:02d} host{rng.integers(3)} sshd[{rng.integers(1000, 9999)}]: session "
        f"{verbs[rng.integers(3)]} for user {users[rng.integers(4)]} from 10.0.{rng.integers(255)}.{rng.integers(255)}"
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus", log_lines(1200))


@pytest.fixture(scope="session")
def tokenizer_folder(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    train(corpus, out, TokenizerConfig(vocab_size="auto", vocab_size_limit=512))
    return out


@pytest.fixture(scope="session")
def configure(corpus, tokenizer_folder):
    """A function that makes a tiny configuration for a folder, with changes by section."""

    def make(out, **sections):
        base = {
            "corpus": corpus.path, "tokenizer": tokenizer_folder, "out": out,
            "model": {"hidden_size": 32, "layers": 2, "heads": 2, "intermediate_size": 64},
            "data": {"max_tokens": 64, "tokens_per_batch": 1024, "validation_tokens": 2000},
            "train": {"steps": 30, "learning_rate": 0.01, "validate_every": 15, "checkpoint_every": 10,
                      "accelerator": "cpu", "precision": "32-true"},
        }  # fmt: skip
        for name, section in sections.items():
            base[name] = base.get(name, {}) | section if isinstance(section, dict) else section
        return PretrainConfig.model_validate(base)

    return make
