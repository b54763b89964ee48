"""The contrastive stage: its loss, its batches, and a real run that is killed and goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from logfm.configs.schema.contrast import ContrastConfig
from logfm.configs.schema.pretrain import DataConfig, MaskingConfig, ModelConfig, PretrainConfig, TrainConfig
from logfm.corpus.templates import template_hashes
from logfm.errors import UserError
from logfm.pretrain import load_encoder, pretrain
from logfm.pretrain.callbacks import read_history
from logfm.pretrain.contrast.batches import PairBatches
from logfm.pretrain.contrast.known import KnownTemplates
from logfm.pretrain.contrast.loss import contrastive_loss, pooled
from logfm.pretrain.contrast.module import ContrastiveModel
from logfm.pretrain.contrast.texts import TEXTS, build_texts
from logfm.pretrain.contrast.views import Line
from logfm.pretrain.data import Leg, Masker, Shard
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.model import build
from logfm.pretrain.packing import pack
from logfm.tokenizer import LogTokenizer
from tests.pretrain.conftest import log_lines, write_corpus

RUN = """
import sys
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain import pretrain
pretrain(PretrainConfig.model_validate_json(sys.argv[1]))
"""
KINDS = [("allow", "dmz"), ("drop", "guest"), ("reject", "office")] * 60
OTHER = [f'{{"action": "{verb}", "bytes": {40 + i}, "zone": "{zone}"}}' for i, (verb, zone) in enumerate(KINDS)]


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    texts = [*log_lines(300), *OTHER]
    sources = ["sshd"] * 300 + ["firewall"] * len(OTHER)
    return write_corpus(tmp_path_factory.mktemp("two") / "corpus", texts, sources)


@pytest.fixture(scope="module")
def first_stage(configure, tmp_path_factory):
    out = tmp_path_factory.mktemp("first")
    pretrain(configure(out))
    return out / "encoder"


@pytest.fixture
def second(configure, first_stage, two_sources):
    def make(out, contrast=None, **sections):
        sections = {"train": {"steps": 12, "checkpoint_every": 4, "validate_every": 6}} | sections
        return configure(
            out, corpus=two_sources.path, tokenizer=first_stage, start={"encoder": first_stage}, model={},
            contrast={"events": 8, "sources": 2, "max_tokens": 48} | (contrast or {}), **sections,
        )  # fmt: skip

    return make


def test_the_loss_by_hand():
    views = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.manual_seed(0)), dim=1)
    templates = torch.tensor([1, 2, 1])
    loss, found = contrastive_loss(views, templates, 0.5)
    total = []
    for row in range(6):
        partner = (row + 3) % 6
        kept = [other for other in range(6) if other == partner or templates[other % 3] != templates[row % 3]]
        scores = torch.tensor([float(views[row] @ views[other]) / 0.5 for other in kept])
        total.append(float(torch.logsumexp(scores, 0) - scores[kept.index(partner)]))
        assert bool(found[row]) == (kept[int(scores.argmax())] == partner)
    assert float(loss) == pytest.approx(np.mean(total), rel=1e-5)


def test_pooling_is_the_mean_of_each_event_in_the_order_given():
    packed = pack([np.array([1, 5, 6, 2]), np.array([1, 2]), np.array([1, 7, 2])])
    states = torch.randn(9, 3, generator=torch.manual_seed(1))
    expected = [states[packed.event_T == event].mean(0) for event in range(3)]
    expected = torch.nn.functional.normalize(torch.stack(expected), dim=1)
    assert torch.allclose(pooled(states, packed), expected, atol=1e-6)


def test_the_sample_is_even_over_sources_and_templates_and_leaves_out_what_is_held_out(two_sources, tmp_path):
    config = ContrastConfig(most_events=12)
    manifest = build_texts(two_sources, tmp_path / "views", DataConfig(view=None, validation_share=0.1), config, 0)
    table = pq.read_table(tmp_path / "views" / TEXTS)
    assert manifest.metrics["events"] == table.num_rows == 12
    assert np.bincount(table["source"].to_numpy()).tolist() == [6, 6]
    assert len(set(table["template"].to_pylist())) >= 9
    held_out = {*log_lines(300)[-30:], *OTHER[-18:]}
    assert not held_out & set(table["text"].to_pylist())
    assert build_texts(two_sources, tmp_path / "views", DataConfig(view=None, validation_share=0.1), config, 0)


def test_known_templates_make_one_event_of_lines_that_differ_in_words_and_headers(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("user <*> opened <*>\nuser <*> opened <*> in safe mode\n<*> of <*>\nat <*>\n", encoding="utf-8")
    lines = [
        "Jan  2 03:04:05 alpha shop[12]: user kim opened the door",
        "2026-01-02 03:04:05,678 INFO shop.doors: user alex opened a window",
        "2026-01-02 03:04:05,678 INFO shop.doors: user alex opened a window in safe mode",
        "Jan  2 03:04:05 alpha shop[12]: opened for user kim",
        "Jan  3 04:05:06 alpha shop[99]: opened for user kim",
        "superuser kim opened the door",
        "",
    ]
    hashes = KnownTemplates.read(path).hashes(pa.array(lines)).tolist()
    plain = template_hashes(pa.array(lines)).tolist()
    assert hashes[0] == hashes[1] != hashes[2] and plain[0] != plain[1]
    assert hashes[3:] == plain[3:] and hashes[3] == hashes[4]


def test_the_sample_is_made_anew_when_the_known_templates_change(two_sources, tmp_path):
    path, data = tmp_path / "templates.txt", DataConfig(view=None, validation_share=0.1)
    path.write_text('"action": "<*>", "bytes": <*>, "zone"\n', encoding="utf-8")
    config = ContrastConfig(most_events=12, templates=path)
    manifest = build_texts(two_sources, tmp_path / "views", data, config, 0)
    plain = build_texts(two_sources, tmp_path / "plain", data, ContrastConfig(most_events=12), 0)
    assert manifest.metrics["templates"] < plain.metrics["templates"]
    path.write_text("another <*> template\n", encoding="utf-8")
    with pytest.raises(UserError):
        build_texts(two_sources, tmp_path / "views", data, config, 0)
    path.write_bytes(b"\xff\xfe broken")
    with pytest.raises(UserError, match="templates can't be read"):
        build_texts(two_sources, tmp_path / "third", data, config, 0)
    path.write_text("at <*>\n\n", encoding="utf-8")
    with pytest.raises(UserError, match="no template of 8 characters"):
        build_texts(two_sources, tmp_path / "third", data, config, 0)
    with pytest.raises(ValueError, match="does not point to a file"):
        ContrastConfig(templates=tmp_path / "missing.txt")


def batches(second, tmp_path, tokenizer, **more):
    config = second(tmp_path, more)
    build_texts(_corpus(config), tmp_path / "views", config.data, config.contrast, 0)
    from logfm.pretrain.tokens import build_tokens

    build_tokens(_corpus(config), tokenizer, tmp_path / "tokens", config.data)
    masker = Masker.of(tokenizer, MaskingConfig(), 0)
    shard = Shard(tmp_path / "tokens", "train")
    return lambda rank=0, ranks=1: PairBatches(
        tmp_path / "views", tokenizer, masker, config.contrast, shard, rank, ranks
    )


def _corpus(config):
    from logfm.corpus.store import Corpus

    return Corpus.open(config.corpus)


def test_batches_depend_on_their_number_alone_and_ranks_share_them(second, tmp_path, tokenizer_folder):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    make = batches(second, tmp_path, tokenizer)
    whole = [one for _, one in zip(range(4), make(), strict=False)]
    late = make()
    late.start = 2
    assert torch.equal(next(iter(late)).packed.ids_T, whole[2].packed.ids_T)
    halves = [iter(make(rank, 2)) for rank in range(2)]
    for number, one in enumerate(whole):
        assert torch.equal(next(halves[number % 2]).packed.ids_T, one.packed.ids_T)
    assert all(len(one.templates_N) == 8 and len(one.packed.lengths_B) == 16 for one in whole)
    # Another number of ranks goes on behind what those before have taken.
    other = make()
    other.legs = [Leg(1, 1, 2)]
    assert torch.equal(next(iter(other)).packed.ids_T, whole[2].packed.ids_T)
    late.legs, late.start = [Leg(1, 1, 2)], 1
    assert torch.equal(next(iter(late)).packed.ids_T, whole[3].packed.ids_T)
    assert late.epochs_done() == pytest.approx(3 * make().epochs_done() + 3 / make().per_epoch())


def test_some_first_views_are_plain_words_and_their_second_ones_have_none(second, tmp_path, tokenizer_folder):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    made = batches(second, tmp_path, tokenizer, said=1.0)()
    records = [f'{{"message": "link {verb} again", "port": 5}}' for verb in ("up", "down")]
    lines = made._said([Line(text) for text in (*records, *records)], np.random.default_rng(0))
    assert [line.text for line in lines] == ["link up again", "link down again", '{"port":5}', '{"port":5}']
    none = batches(second, tmp_path / "none", tokenizer)()
    assert none._said([Line(records[0])] * 2, np.random.default_rng(0)) == [Line(records[0])] * 2


def test_first_views_are_whole_and_second_ones_masked(second, tmp_path, tokenizer_folder):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    one = batches(second, tmp_path, tokenizer)().batch(0)
    packed = one.packed
    hidden = packed.event_T[packed.ids_T == tokenizer.mask_id]
    assert len(hidden) and bool((hidden >= 8).all())
    assert bool((packed.event_T[one.positions_M] >= 8).all())
    assert int(packed.lengths_B.max()) <= 48
    whole = batches(second, tmp_path / "unmasked", tokenizer, masked_weight=0)().batch(0)
    assert not bool((whole.packed.ids_T == tokenizer.mask_id).any()) and not len(whole.positions_M)


def test_views_of_one_event_come_together(second, first_stage, tmp_path, tokenizer_folder):
    config = second(tmp_path / "run", {"events": 16, "temperature": 0.1},
                    train={"steps": 60, "validate_every": 60, "checkpoint_every": 60})  # fmt: skip
    pretrain(config)
    make = batches(second, tmp_path / "fresh", LogTokenizer.load(tokenizer_folder), events=16, temperature=0.1)

    def found(folder):
        model = load_encoder(folder)
        shares = []
        for number in range(10_000, 10_008):  # far behind what was trained on
            pair = make().batch(number)
            with torch.inference_mode():
                from logfm.pretrain.forward import hidden_states

                views = pooled(hidden_states(model.model, pair.packed), pair.packed)
            shares.append(float(contrastive_loss(views, pair.templates_N, 0.1)[1].float().mean()))
        return np.mean(shares)

    assert found(tmp_path / "run" / "encoder") > found(first_stage) + 0.05
    history = read_history(tmp_path / "run" / "run")
    assert any("train_found" in row for row in history) and any("validation_accuracy" in row for row in history)


def test_the_map_behind_the_pooling_is_fitted_on_what_was_trained_on(second, tmp_path):
    from logfm.pretrain import projection

    options = {"projection": "centre", "projection_events": 40}
    pretrain(second(tmp_path / "run", options, train={"steps": 2, "validate_every": 2, "checkpoint_every": 2}))
    encoder = load_encoder(tmp_path / "run" / "encoder")
    found = projection.read(tmp_path / "run" / "encoder", encoder.dim)
    texts = pq.read_table(tmp_path / "run" / "views" / TEXTS)["text"].to_pylist()
    rows = np.unique(np.linspace(0, len(texts) - 1, 40, dtype=np.int64))
    ids = [one[:46] for one in encoder.tokenizer.encode_batch([texts[row] for row in rows])]
    assert np.allclose(found(encoder.pool(ids)).mean(0), 0, atol=1e-4)
    assert "2_Dense" in (tmp_path / "run" / "encoder" / "modules.json").read_text()


def test_a_killed_run_resumes_bit_for_bit(second, tmp_path):
    def losses(out):
        return [row["train_loss"] for row in read_history(out / "run") if "train_loss" in row]

    train = {"steps": 40, "checkpoint_every": 4, "validate_every": 20}
    pretrain(second(tmp_path / "whole", train=train))
    config = second(tmp_path / "killed", train=train)
    process = subprocess.Popen([sys.executable, "-c", RUN, config.model_dump_json()],
                               env=os.environ | {"DS_ACCELERATOR": "cpu"}, stderr=subprocess.DEVNULL)  # fmt: skip
    end = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*run*/checkpoints/*=*.ckpt")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "run").exists()
    assert list((tmp_path / "killed").glob("*run*/checkpoints/*=*.ckpt"))
    pretrain(config)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    first, second_run = (load_encoder(tmp_path / name / "encoder") for name in ("whole", "killed"))
    for one, other in zip(first.model.parameters(), second_run.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_a_second_stage_needs(configure, second, tmp_path):
    with pytest.raises(ValueError, match="give start"):
        configure(tmp_path, contrast={"events": 8})
    config = second(tmp_path / "small").model_dump(mode="json")
    config["start"] |= {"replay": str(tmp_path), "replay_share": 0.5}
    with pytest.raises(ValueError, match="replays nothing"):
        PretrainConfig.model_validate(config)
    with pytest.raises(UserError, match="fewer than two templates"):
        texts = [f"one line {number}" for number in range(60)]
        lone = write_corpus(tmp_path / "lone" / "corpus", texts)
        build_texts(lone, tmp_path / "views", DataConfig(), ContrastConfig(), 0)


def test_without_masked_tokens_every_parameter_has_a_gradient(second, tmp_path, tokenizer_folder):
    # DDP waits for all of them.
    tokenizer = LogTokenizer.load(tokenizer_folder)
    pair = batches(second, tmp_path, tokenizer, masked_weight=0)().batch(0)
    sizes = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    parts = build(sizes, tokenizer.vocab_size, tokenizer.pad_id, 0), build_decoder(sizes, 0)
    module = ContrastiveModel(*parts, TrainConfig(steps=1), 1, tokenizer.byte_lengths)
    module.contrast = ContrastConfig(masked_weight=0)
    module.losses(pair)[0].backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
