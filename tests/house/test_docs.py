"""The guide to embeddings: what it shows runs, and every way gives the same vectors."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from logfm.cli import main
from logfm.configs import load
from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.pretrain import ModelConfig, PretrainConfig, StartConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus import Corpus, build
from logfm.embeddings import LogEncoder
from logfm.pretrain.shipped import SHIPPED
from logfm.tokenizer import LogTokenizer, train
from tests.embeddings.samples import log_lines, write_log

TEXT = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text()
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))
STREAM = "A head for a stream of sessions"
TEXTS = ["Accepted password for root from 10.0.0.7 port 4242 ssh2", "session closed for user root"]
RUN = ("Through logfm", "sentence-transformers", "transformers", "ONNX Runtime alone")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """One with a map behind the pooling, as nano has."""
    from logfm.pretrain import projection
    from logfm.pretrain.export import write_encoder, write_projection
    from logfm.pretrain.model import build as build_model
    from logfm.pretrain.onnx_files import write_onnx

    root = tmp_path_factory.mktemp("docs")
    build([write_log(root / "app.log", log_lines(300))], root / "corpus", workers=1)
    train(Corpus.open(root / "corpus"), root / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=384))
    tokenizer = LogTokenizer.load(root / "tokenizer")
    config = ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_tokens=128)
    (root / "encoder").mkdir()
    write_encoder(build_model(config, tokenizer.vocab_size, tokenizer.pad_id, 0), tokenizer, 128, root / "encoder")
    write_onnx(root / "encoder")
    vectors = LogEncoder.load(root / "encoder").encode(log_lines(300))
    write_projection(projection.fit(vectors, "whiten"), root / "encoder")
    return root / "encoder"


def test_what_the_guide_shows_gives_the_same_vectors(encoder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    long = repr("session closed for user root " * 90)  # longer than what the encoder was trained on
    found = []
    for name in RUN:
        scope = {}
        exec(BLOCKS[name].replace("ENCODER", str(encoder)).replace('"session closed for user root"', long), scope)
        found.append(np.array(scope["vectors"]))
    assert all(vectors.shape == (2, 32) for vectors in found)
    assert all(cosines(vectors, found[0]).min() > 0.9999 for vectors in found)
    assert cosines(found[0], found[0][::-1]).max() < 0.9


def cosines(one, two):
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def test_the_snippets_fit_the_encoder_that_ships(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    whole = LogEncoder.load("nano", backend="torch").encode(TEXTS)
    for name, least in zip(RUN[1:], (0.9999, 0.9999, 0.98), strict=True):  # the last computes in 8 bits
        scope = {}
        exec(BLOCKS[name].replace("ENCODER", str(SHIPPED)), scope)
        assert cosines(np.array(scope["vectors"]), whole).min() > least, name


def test_a_head_scores_a_session(encoder):
    scope = {}
    exec(BLOCKS[STREAM].replace("ENCODER", str(encoder)), scope)
    assert scope["above"].shape == (2,) and scope["found"].scores[0] > scope["found"].scores[1]


def test_the_commands_of_the_guide_run(encoder, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "search-and-detection.md").read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == 13
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "last-week.log", log_lines(60))
    write_log(tmp_path / "today.log", [*log_lines(40, seed=1), "Jan  5 10:00:00 host1 kernel: Out of memory"])
    for command in commands:
        name, *arguments = shlex.split(command.replace("ENCODER", str(encoder)))
        assert name == "logfm"
        assert main(arguments) == 0, (command, capsys.readouterr().err)
    assert "events deleted" in capsys.readouterr().err


def test_the_recipes_and_settings_of_the_guide_to_pretraining_exist(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "pretraining.md").read_text()
    commands = [shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
                for line in block.splitlines()]  # fmt: skip
    runs = [one[2:] for one in commands if one[:2] == ["logfm", "pretrain"] and one[2].startswith("pretrain/")]
    assert len(commands) == 7 and len(runs) == 3
    for recipe, *options in runs:
        assert load(PretrainConfig, recipe, [one for one in options if one != "--set"])
    config = load(PretrainConfig, "pretrain/nano").model_dump()
    named = re.findall(r"`(train|masking|data|model)\.(\w+)", page)
    assert len(named) > 15 and all(key in config[section] for section, key in named)
    assert set(re.findall(r"`(?:start|contrast)\.(\w+)", page)) <= {
        *StartConfig.model_fields,
        *ContrastConfig.model_fields,
    }


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed")
@pytest.mark.filterwarnings("ignore")
def test_mteb_measures_the_folder_on_logs(encoder, monkeypatch):
    from tests.evaluation.suite.test_mteb import small

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("logfm.evaluation.suite.mteb_tasks.registry", small)
    scope = {}
    exec(BLOCKS["mteb"].replace("ENCODER", str(encoder)), scope)
    scores = {one.task_name: one.scores["test"][0]["main_score"] for one in scope["results"].task_results}
    assert set(scores) == {"LogSimilarity.simulated", "LogSearch.simulated"}
    assert all(0 < score <= 1 for score in scores.values())


def test_the_other_snippets_are_python():
    assert set(BLOCKS) == {*RUN, STREAM, "LangChain", "LlamaIndex", "mteb"}
    for name in set(BLOCKS) - set(RUN):
        assert '"ENCODER"' in BLOCKS[name]
        ast.parse(BLOCKS[name])
