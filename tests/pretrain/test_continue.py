"""Continued pretraining: it starts where the encoder stood, learns the new, and forgets less with replay."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import orjson
import pytest
import torch

from logfm.artifacts import read_manifest
from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig, StartConfig
from logfm.configs.schema.tokenizer import ExtensionConfig, TokenizerConfig
from logfm.errors import UserError
from logfm.pretrain import continuing_report, export_checkpoint, load_encoder, pretrain, projection
from logfm.pretrain.callbacks import read_history
from logfm.pretrain.continuing import open_start, sizes_of, take_weights
from logfm.pretrain.data import Masker, Replay, Shard, TrainBatches, ValidationBatches
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.forward import hidden_states
from logfm.pretrain.model import build
from logfm.pretrain.packing import pack, plan_parts
from logfm.tokenizer import LogTokenizer, extend, train
from tests.pretrain.conftest import write_corpus

RUN = """
import sys
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain import pretrain
pretrain(PretrainConfig.model_validate_json(sys.argv[1]))
"""


def firewall_lines(count):
    """Another product's events, unlike those of the encoder's corpus."""
    rng = np.random.default_rng(5)
    zones, verdicts = ["dmz", "guest", "office"], ["allow", "drop", "reject"]
    return [
        f'{{"action": "{verdicts[rng.integers(3)]}", "zone": "{zones[rng.integers(3)]}", "bytes": '
        f'{rng.integers(40, 9000)}, "destination_port": {rng.choice([22, 53, 443, 8080])}, "rule_number": {i % 17}}}'
        for i in range(count)
    ]


@pytest.fixture(scope="session")
def new_corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "corpus"
    return write_corpus(folder, firewall_lines(900), licence="MIT")


@pytest.fixture(scope="session")
def extended(tokenizer_folder, new_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("extended") / "tokenizer"
    extend(LogTokenizer.load(tokenizer_folder), new_corpus, out, ExtensionConfig(add=64))
    return out


@pytest.fixture(scope="session")
def old_run(configure, tmp_path_factory):
    """The folder of a run on the old corpus."""
    out = tmp_path_factory.mktemp("old")
    pretrain(configure(out, train={"steps": 150, "validate_every": 150}))
    return out


@pytest.fixture
def continued(configure, corpus, new_corpus, old_run):
    """A function that configures a run from the old encoder on to the new corpus."""

    def make(out, share=0.25, steps=60, **sections):
        start = {"encoder": old_run / "encoder", "replay": corpus.path, "replay_share": share}
        base = {"corpus": new_corpus.path, "tokenizer": old_run / "encoder", "start": start} | sections
        base["train"] = {"steps": steps, "validate_every": 30} | base.get("train", {})
        return configure(out, **base)

    return make


def test_it_learns_the_new_and_forgets_less_with_replay(continued, old_run, tmp_path):
    runs = {name: tmp_path / name / "run" for name in ("replayed", "forgetful")}
    for name, share in (("replayed", 0.3), ("forgetful", 0.0)):
        outcome = pretrain(continued(tmp_path / name, share))
        assert outcome.encoder.licences == ["CC0-1.0", "MIT"]
    replayed, forgetful = (continuing_report.changes(folder) for folder in runs.values())
    # On the old corpus it begins exactly where the encoder's own run ended.
    ended = read_manifest(old_run / "run").metrics
    for name in ("bits_per_byte", "accuracy", "loss"):
        assert replayed[f"old_validation_{name}"].before == pytest.approx(ended[f"validation_{name}"], rel=1e-5)
        assert forgetful[f"validation_{name}"].before == replayed[f"validation_{name}"].before
    for run in (replayed, forgetful):
        assert run["validation_bits_per_byte"].relative < -0.4
    lost = [run["old_validation_bits_per_byte"].after for run in (replayed, forgetful)]
    assert lost[0] < 0.7 * lost[1]
    assert forgetful["old_validation_bits_per_byte"].relative > 0.5
    metrics = outcome.run.metrics
    assert metrics["start_validation_loss"] == forgetful["validation_loss"].before
    assert metrics["old_validation_loss"] == pytest.approx(forgetful["old_validation_loss"].after)
    assert [row["step"] for row in read_history(runs["replayed"]) if "old_validation_loss" in row] == [0, 30, 60, 60]

    page = tmp_path / "both.html"
    names = {f"<script>{name}": folder for name, folder in runs.items()}
    lines = continuing_report.write(names, page).splitlines()
    assert len(lines) == 2
    text = page.read_text()
    assert "&lt;script&gt;replayed" in text and "<script" not in text
    change = f"{100 * forgetful['old_validation_bits_per_byte'].relative:+.1f} %"
    assert change in text and change in lines[1]
    assert text.count("<polyline") == 4
    assert (runs["replayed"] / "report.html").is_file()


def test_added_vocabulary_starts_at_the_mean_of_what_it_joins(configure, corpus, new_corpus, old_run, extended):
    tokenizer = LogTokenizer.load(extended)
    start = open_start(StartConfig(encoder=old_run / "encoder"), tokenizer)
    base, sizes = start.encoder.tokenizer, ModelConfig(**sizes_of(start.encoder))
    assert tokenizer.vocab_size == base.vocab_size + 64
    model = build(sizes, tokenizer.vocab_size, tokenizer.pad_id, seed=3)
    decoder = build_decoder(sizes, seed=3)
    take_weights(model, decoder, start.encoder, tokenizer)
    theirs, ours = start.encoder.model.state_dict(), model.state_dict()
    for name in ("deberta.embeddings.word_embeddings.weight", "lm_predictions.lm_head.bias"):
        assert torch.equal(ours[name][: base.vocab_size], theirs[name])
        for index in range(base.vocab_size, tokenizer.vocab_size):
            # These texts are plain ASCII, cut by the old tokenizer as its merges say.
            pieces = torch.from_numpy(base.encode_batch([tokenizer.decode([index])])[0].astype(np.int64))
            torch.testing.assert_close(ours[name][index], theirs[name][pieces].mean(0))
    assert all(
        torch.equal(tensor, start.encoder.decoder.state_dict()[name]) for name, tensor in decoder.state_dict().items()
    )
    # Texts cut as before give the states that they gave.
    rng = np.random.default_rng(0)
    events = [rng.integers(5, base.vocab_size, size=size) for size in (3, 9, 31, 9)]
    with torch.no_grad():
        before, after = (hidden_states(one.eval(), pack(events)) for one in (start.encoder.model, model))
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)


def test_a_run_with_added_vocabulary_leaves_an_encoder_of_it(continued, extended, tmp_path):
    outcome = pretrain(continued(tmp_path, tokenizer=extended, steps=20))
    encoder = load_encoder(tmp_path / "encoder")
    assert encoder.tokenizer.hash == LogTokenizer.load(extended).hash
    assert encoder.model.config.vocab_size == encoder.tokenizer.vocab_size
    metrics = outcome.run.metrics
    assert metrics["validation_bits_per_byte"] < metrics["start_validation_bits_per_byte"]
    assert outcome.encoder.metrics["old_validation_bits_per_byte"] == metrics["old_validation_bits_per_byte"]


def test_without_old_data_only_the_new_is_measured(continued, old_run, tmp_path):
    outcome = pretrain(continued(tmp_path, start={"encoder": old_run / "encoder"}, steps=2))
    assert not [name for name in outcome.run.metrics if "old_" in name]
    assert outcome.run.metrics["replay_share"] == 0.0
    assert "old data" not in (tmp_path / "run" / "report.html").read_text().partition("<tbody>")[2]
    # The old corpus's licence is the encoder's, so it stays.
    assert outcome.encoder.licences == ["CC0-1.0", "MIT"]


def test_the_map_behind_the_pooling_is_kept_and_centred_anew(continued, old_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("logfm.pretrain.run._CENTRE_EVENTS", 300)
    rng = np.random.default_rng(0)
    old = projection.Projection(rng.normal(size=(32, 32)).astype(np.float32), np.ones(32, dtype=np.float32))
    shutil.copytree(old_run / "run", tmp_path / "run")
    projection.write(old, tmp_path / "run")
    export_checkpoint(tmp_path / "run" / "checkpoints" / "final.ckpt", tmp_path / "mapped")
    pretrain(continued(tmp_path / "out", start={"encoder": tmp_path / "mapped"}, steps=6))
    assert "kept, centred anew on 300 training events" in capsys.readouterr().err
    encoder = load_encoder(tmp_path / "out" / "encoder")
    found = projection.read(encoder.folder, encoder.dim)
    assert np.array_equal(found.weight, old.weight)
    events = Shard(tmp_path / "out" / "tokens", "train")
    rows = np.linspace(0, len(events.lengths) - 1, 300, dtype=np.int64)
    vectors = found(encoder.pool([ids[1:-1] for ids in events.events(rows)]))
    assert vectors.std() > 0.1 and np.allclose(vectors.mean(0), 0, atol=1e-4)
    assert "2_Dense" in (encoder.folder / "modules.json").read_text()
    # An encoder of one of its checkpoints has it too.
    export_checkpoint(tmp_path / "out" / "run" / "checkpoints" / "final.ckpt", tmp_path / "again")
    assert projection.read(tmp_path / "again", encoder.dim).hash == found.hash


def test_another_tokenizer_is_refused(continued, new_corpus, extended, tmp_path):
    train(new_corpus, tmp_path / "other", TokenizerConfig(vocab_size="auto", vocab_size_limit=512))
    with pytest.raises(UserError, match="not the encoder's and does not extend it") as error:
        pretrain(continued(tmp_path / "a", tokenizer=tmp_path / "other"))
    assert "\n" not in str(error.value)
    # What claims to extend it with other first merges, or with tokens that nothing makes, does not.
    document = orjson.loads((extended / "tokenizer.json").read_bytes())
    merges = document["model"]["merges"]
    for name, changed in (("swapped", [merges[1], merges[0], *merges[2:]]), ("cut", merges[:-64])):
        LogTokenizer.load(extended).save(tmp_path / name)
        model = document["model"] | {"merges": changed}
        (tmp_path / name / "tokenizer.json").write_bytes(orjson.dumps(document | {"model": model}))
        with pytest.raises(UserError, match="does not extend it"):
            pretrain(continued(tmp_path / "a", tokenizer=tmp_path / name))


def test_other_sizes_and_other_folders_are_refused(continued, corpus, tmp_path):
    with pytest.raises(UserError, match=r"model\.layers is 3, the encoder's is 2"):
        pretrain(continued(tmp_path / "a", model={"layers": 3}))
    with pytest.raises(UserError, match="expected a folder of the stage encoder"):
        pretrain(continued(tmp_path / "a", start={"encoder": corpus.path}))
    assert not (tmp_path / "a").exists()


class Rows:
    """A shard whose event `i` is `[i] * lengths[i]`."""

    def __init__(self, lengths, first):
        self.lengths, self.first = np.array(lengths), first

    def events(self, rows):
        return [np.full(self.lengths[row], self.first + row) for row in rows]


@pytest.fixture
def mixed():
    """A function that makes the batches of a rank: new events are numbered from 1,000, old ones from 5,000."""
    rng = np.random.default_rng(0)
    new, old = Rows(rng.integers(5, 60, size=900), 1000), Rows(rng.integers(5, 60, size=200), 5000)
    masker = Masker(np.zeros(10_000, dtype=bool), 4, MaskingConfig(), seed=7)

    def make(rank=0, ranks=1, share=0.2, start=0):
        batches = TrainBatches(new, masker, 512, rank, ranks, Replay(old, share, 7))
        batches.start = start
        return batches

    return make


def taken(batches, count):
    """The tokens of the first batches."""
    return [batch.packed.ids_T.numpy() for batch, _ in zip(batches, range(count), strict=False)]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_share_of_old_tokens_is_that_asked(mixed, share):
    batches = mixed(share=share)
    tokens = np.concatenate(taken(batches, batches.per_epoch()))
    assert (tokens >= 5000).mean() == pytest.approx(share, abs=0.02)
    assert batches.replay_share() == pytest.approx((tokens >= 5000).mean(), abs=0.01)
    # A pass over the new data has each of its events once.
    new = tokens[tokens < 5000]
    assert np.array_equal(np.bincount(new, minlength=1900)[1000:], batches.shard.lengths)
    assert max(len(one) for one in taken(batches, 50)) < 512 + 60


def test_a_pass_over_the_old_data_has_each_event_once(mixed):
    batches = mixed(share=0.5)
    parts = len(batches.replay.plan(0, 512))
    turns = [np.concatenate(taken(mixed(share=0.5, start=turn * parts), parts)) for turn in range(2)]
    for turn in turns:
        assert np.array_equal(np.bincount(turn[turn >= 5000], minlength=5200)[5000:], batches.replay.shard.lengths)
    assert not np.array_equal(*(turn[turn >= 5000] for turn in turns))


def test_mixed_batches_depend_on_their_number_alone_and_ranks_share_them(mixed):
    whole, resumed = taken(mixed(), 60), taken(mixed(start=25), 35)
    assert all(np.array_equal(a, b) for a, b in zip(whole[25:], resumed, strict=True))
    ranks = [taken(mixed(rank, 2), 30) for rank in range(2)]
    for number, tokens in enumerate(whole):
        assert np.array_equal(tokens, ranks[number % 2][number // 2])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_each_validation_batch_counts_once_however_many_ranks(ranks):
    rows = Rows(np.random.default_rng(1).integers(5, 60, size=100), 1000)
    masker = Masker(np.ones(2000, dtype=bool), 4, MaskingConfig(), seed=7)
    parts = [list(ValidationBatches(rows, masker, 512, 10**6, rank, ranks)) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    targets = np.sort(np.concatenate([batch.targets_M.numpy() for part in parts for batch in part]))
    alone = np.sort(np.concatenate([b.targets_M.numpy() for b in ValidationBatches(rows, masker, 512, 10**6, 0, 1)]))
    assert len(alone) > 100 and np.array_equal(targets, alone)


def test_parts_are_even_where_samples_are_longer_than_a_part():
    lengths = np.array([500, 3, 4, 5, 400, 6] * 20)
    parts = plan_parts(lengths, 100, seed=1)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(120))
    sizes = [lengths[part].sum() for part in parts]
    assert len(parts) == round(lengths.sum() / 100) and max(sizes) < 100 + 500


def process(config):
    """The same run in a process of its own."""
    environment = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, config.model_dump_json(exclude_unset=True)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def untimed(history):
    """The history without what depends on the clock or on what the machine was measured to do."""
    timed = ("second", "flop")
    return [{key: row[key] for key in row if not any(word in key for word in timed)} for row in history]


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(continued, extended, tmp_path):
    whole, killed = (continued(tmp_path / name, tokenizer=extended) for name in ("whole", "killed"))
    unbroken, victim = process(whole), process(killed)
    checkpoint = tmp_path / "killed" / ".run.partial" / "checkpoints" / "step=20.ckpt"
    deadline = time.monotonic() + 240
    while not checkpoint.exists():
        assert victim.poll() is None and time.monotonic() < deadline, victim.communicate()
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    resumed = process(killed)
    for one in (unbroken, resumed):
        output, _ = one.communicate(timeout=280)
        assert one.returncode == 0, output
    assert "resuming at step" in output
    histories = [untimed(read_history(tmp_path / name / "run")) for name in ("whole", "killed")]
    assert histories[0] == histories[1]
    assert histories[0][0]["step"] == 0
    weights = [load_encoder(tmp_path / name / "encoder").model.state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
