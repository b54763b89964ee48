import sys
import types

import pytest

from tests.evaluation.suite.fakes import Lengths, lines


@pytest.fixture
def own(monkeypatch):
    """`py:own_encoders:NAME`: a module of encoders; `add(NAME, encoder)` puts one in and gives its URI."""
    module = types.ModuleType("own_encoders")
    monkeypatch.setitem(sys.modules, "own_encoders", module)

    def add(name, encoder=None):
        setattr(module, name, encoder or Lengths(hash=name))
        return f"py:own_encoders:{name}"

    return add


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A tiny encoder with random weights, exported as every encoder of ours is."""
    from logfm.configs.schema.pretrain import ModelConfig
    from logfm.configs.schema.tokenizer import TokenizerConfig
    from logfm.corpus import Corpus, build
    from logfm.pretrain.export import write_encoder
    from logfm.pretrain.model import build as build_model
    from logfm.tokenizer import LogTokenizer, train

    root = tmp_path_factory.mktemp("tiny")
    (root / "app.log").write_text("\n".join(lines(600)))
    build([root / "app.log"], root / "corpus", workers=1)
    train(Corpus.open(root / "corpus"), root / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=448))
    tokenizer = LogTokenizer.load(root / "tokenizer")
    config = ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_tokens=128)
    (root / "encoder").mkdir()
    model = build_model(config, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    write_encoder(model, tokenizer, 128, root / "encoder")
    return root / "encoder"
