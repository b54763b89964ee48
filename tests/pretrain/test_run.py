"""Whole pretraining runs: they learn, they resume, and other libraries open what they leave."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from logfm.artifacts import read_manifest
from logfm.cli import main
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.configs.schema.pretrain import ModelConfig
from logfm.corpus.contamination import INDEX
from logfm.embeddings import LogEncoder
from logfm.errors import LogfmError, UserError
from logfm.pretrain import export_checkpoint, load_encoder, pretrain
from logfm.pretrain.callbacks import read_history, saved_steps
from logfm.pretrain.damage import damage
from logfm.pretrain.export import load_weights, write_encoder
from logfm.pretrain.forward import predictions
from logfm.pretrain.model import build
from logfm.pretrain.module import MaskedLanguageModel, learning_rate_factor
from logfm.pretrain.packing import pack
from logfm.pretrain.run import _announce, settled
from logfm.tokenizer import LogTokenizer
from tests.pretrain.conftest import log_lines

RUN = """
import sys
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain import pretrain
pretrain(PretrainConfig.model_validate_json(sys.argv[1]))
"""


SMALL = {
    "model": {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16},
    "data": {"tokens_per_batch": 512, "validation_tokens": 600},
    "train": {"steps": 6, "checkpoint_every": 2, "validate_every": 3, "logger": "none"},
}


def figures(run, name):
    """A logged figure by step."""
    return {row["step"]: row[name] for row in read_history(run) if name in row}


def start(config):
    """The same run in a process of its own."""
    environment = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, config.model_dump_json()]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_it_learns_and_its_folder_opens_elsewhere(configure, corpus, tmp_path):
    outcome = pretrain(configure(tmp_path, train={"steps": 150, "validate_every": 50}))
    history = [row for row in read_history(tmp_path / "run") if "validation_loss" in row]
    # Beside a model that knows nothing; how far the first fifty steps come is a matter of luck.
    nothing = np.log(json.loads((tmp_path / "encoder" / "config.json").read_bytes())["vocab_size"])
    assert history[-1]["validation_loss"] < min(0.4 * nothing, history[0]["validation_loss"])
    metrics = outcome.run.metrics
    assert metrics["validation_accuracy"] > 0.3
    assert metrics["validation_perplexity"] == pytest.approx(np.exp(metrics["validation_loss"]))
    assert 0 < metrics["validation_bits_per_byte"] < 8
    assert outcome.encoder.licences == ["CC0-1.0"]
    # The encoder says what templates it has seen, wherever it is taken.
    known = [pq.read_table(folder / INDEX)["template"] for folder in (corpus.path, tmp_path / "encoder")]
    assert len(known[0]) and known[0] == known[1]
    modes = {(tmp_path / "encoder" / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1
    # A text longer than anything it trained on is read to that length, and not at the square of its own.
    assert LogEncoder.load(tmp_path / "encoder").encode(["a-b " * 300_000]).shape == (1, 32)

    encoder = load_encoder(tmp_path / "encoder")
    texts = ["Jan  5 10:00:00 host1 sshd[4]: session opened for user root from 10.0.1.1", "", "é \x00 [MASK]"]
    # And longer ones, which sentence-transformers would cut.
    longer = [text * times for text, times in zip(log_lines(3), (1, 4, 11), strict=True)]
    ids = encoder.tokenizer.encode_batch([*texts, *longer])
    ours, states_of = encoder.pool(ids), encoder.hidden_states(ids)
    assert len({len(one) for one in ids}) == 6 and len(ids[-1]) > 200

    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "encoder")
    model = AutoModel.from_pretrained(tmp_path / "encoder").eval()
    for text, own_ids, vector, own_states in zip([*texts, *longer], ids, ours, states_of, strict=True):
        encoded = tokenizer(text, return_tensors="pt")
        assert encoded["input_ids"][0, 1:-1].tolist() == own_ids.tolist()
        with torch.no_grad():
            states = model(**encoded).last_hidden_state[0]
        np.testing.assert_allclose(states.numpy(), own_states.numpy(), atol=1e-4)
        np.testing.assert_allclose(states.mean(0).numpy(), vector, atol=1e-4)

    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs, ours[: len(texts)], atol=1e-4)


def test_a_user_may_read_more_than_was_trained_on_up_to_the_models_positions(tokenizer_folder, tmp_path):
    sizes = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=16, max_tokens=1000)
    tokenizer = LogTokenizer.load(tokenizer_folder)
    write_encoder(build(sizes, tokenizer.vocab_size, tokenizer.pad_id, 0), tokenizer, 64, tmp_path)
    text = "".join(log_lines(40))
    (ids,) = tokenizer.encode_batch([text])
    assert len(ids) > 998
    pretrained = load_encoder(tmp_path)
    for asked, read in ((None, 62), (20, 20), (62, 62), (500, 500), (48_000, 998)):
        encoder = LogEncoder.load(tmp_path, EncoderConfig(max_tokens=asked))
        np.testing.assert_allclose(encoder.encode([text]), pretrained.pool([ids[:read]]), atol=1e-5)


def test_the_surprise_is_that_of_masked_tokens(configure, tmp_path):
    pretrain(configure(tmp_path, train={"steps": 120}))
    encoder = load_encoder(tmp_path / "encoder")
    usual, strange = encoder.tokenizer.encode_batch(
        [f"Jan  5 10:00:00 host1 sshd[4]: session {verb} for user root from 10.0.1.1" for verb in ("opened", "wiped!")]
    )
    surprise = encoder.masked_nll(usual)
    assert np.array_equal(np.isnan(surprise), encoder.tokenizer.delimiter_mask[usual])
    assert np.nansum(encoder.masked_nll(strange)) > np.nansum(surprise)
    # By hand: mask every seventh content token, starting with the second, through Hugging Face's forward.
    content = np.flatnonzero(~np.isnan(surprise))[1::7]
    hidden = np.concatenate([[encoder.tokenizer.cls_id], usual, [encoder.tokenizer.sep_id]])
    hidden[content + 1] = encoder.tokenizer.mask_id
    with torch.no_grad():
        states = encoder.model.deberta(torch.from_numpy(hidden)[None]).last_hidden_state[0]
        places = torch.from_numpy(content + 1)
        logits = predictions(encoder.model, encoder.decoder, states, pack([hidden]), places)
    expected = -logits.log_softmax(-1)[torch.arange(len(content)), torch.from_numpy(usual[content]).long()]
    np.testing.assert_allclose(surprise[content], expected.numpy(), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "train",
    [
        {"precision": "bf16-mixed"},
        # Steps that are validated and saved, and a run whose end depends on its validations.
        {"steps": 48, "validate_every": 4, "checkpoint_every": 2, "patience": 3, "learning_rate": 0.3},
        {"accumulate": 3, "validate_every": 3, "checkpoint_every": 3},
    ],
    ids=["bf16", "patience", "accumulated"],
)
def test_a_killed_run_resumes_with_the_same_losses(configure, tmp_path, train):
    finish(start(configure(tmp_path / "whole", train=train)))
    config = configure(tmp_path / "killed", train=train)
    process = start(config)
    partial = tmp_path / "killed" / ".run.partial"
    deadline, least = time.monotonic() + 240, random.randrange(2, 14)
    while not any(step >= least for step in saved_steps(partial / "checkpoints")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    time.sleep(random.random() / 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "run").exists()
    assert "resuming at step" in finish(start(config))
    for name in ("train_loss", "validation_loss", "validation_accuracy"):
        whole, resumed = (figures(tmp_path / one / "run", name) for one in ("whole", "killed"))
        assert resumed == whole and len(whole) >= 2, (name, least)
    weights = [load_encoder(tmp_path / name / "encoder").model.state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_that_is_killed_twice_within_a_step_goes_on_as_if_it_had_not(configure, tmp_path, monkeypatch):
    """Three batches a step: killed in the first of the step behind a checkpoint, and again as it has gone on."""
    train = {"steps": 6, "accumulate": 3, "checkpoint_every": 2, "validate_every": 3}
    pretrain(configure(tmp_path / "whole", train=train))
    config = configure(tmp_path / "killed", train=train)
    step, left = MaskedLanguageModel.training_step, 0

    def killed(self, *arguments):
        nonlocal left
        left -= 1
        if left < 0:
            raise RuntimeError("killed")
        return step(self, *arguments)

    for batches in (7, 2):
        left = batches
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr(MaskedLanguageModel, "training_step", killed)
            pretrain(config)
    pretrain(config)
    assert figures(tmp_path / "killed" / "run", "train_loss") == figures(tmp_path / "whole" / "run", "train_loss")
    weights = [load_encoder(tmp_path / name / "encoder").model.state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_finished_run_is_reused_and_another_is_refused(configure, tmp_path):
    config = configure(tmp_path, train={"steps": 2})
    first = pretrain(config)
    assert pretrain(config).run.created == first.run.created
    with pytest.raises(UserError, match="another pretrain run"):
        pretrain(configure(tmp_path, train={"steps": 3}))


def test_the_precision_is_chosen_by_the_machine_and_kept_for_the_run(configure, tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.pretrain.run.faster_in_bf16", lambda: True)
    config = configure(tmp_path, train={"precision": "auto", "steps": 4, "checkpoint_every": 2})

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("logfm.pretrain.run._project", fail)
        with pytest.raises(KeyboardInterrupt):
            pretrain(config)
    # Another machine goes on with it.
    monkeypatch.setattr("logfm.pretrain.run.faster_in_bf16", lambda: False)
    pretrain(config)
    assert json.loads((tmp_path / "run" / "config.json").read_bytes())["train"]["precision"] == "bf16-mixed"
    assert settled(config, tmp_path / "run") == settled(config, tmp_path / "run")
    assert settled(config, tmp_path / "other").train.precision == "32-true"
    several = configure(tmp_path / "other", train={"precision": "auto", "devices": 2})
    assert settled(several, tmp_path / "other").train.precision == "bf16-mixed"


def test_any_checkpoint_can_be_exported(configure, tmp_path):
    pretrain(configure(tmp_path, train={"steps": 12}))
    checkpoint = tmp_path / "run" / "checkpoints" / "step=10.ckpt"
    export_checkpoint(checkpoint, tmp_path / "ten")
    assert read_manifest(tmp_path / "ten", "encoder")
    ten, final = (load_encoder(tmp_path / name).model.state_dict() for name in ("ten", "encoder"))
    assert any(not torch.equal(ten[name], final[name]) for name in ten)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        export_checkpoint(checkpoint, tmp_path / "broken")
    with pytest.raises(UserError, match="no checkpoint"):
        export_checkpoint(tmp_path / "nothing", tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


def test_a_run_stops_when_its_minutes_are_over(configure, tmp_path):
    outcome = pretrain(configure(tmp_path, train={"steps": 100_000, "minutes": 0.05, "validate_every": 10**6}))
    assert 0 < outcome.run.metrics["step"] < 100_000
    last = read_history(tmp_path / "run")[-1]
    assert "validation_loss" in last
    assert last["learning_rate"] < 0.005


def test_a_nan_loss_ends_the_run_in_one_line_and_no_encoder_is_written(configure, tmp_path):
    with pytest.raises(LogfmError, match="the loss is nan at step"):
        pretrain(configure(tmp_path / "long", train={"learning_rate": 1e30}))
    # Also where the run ends before there are too many spikes.
    with pytest.raises(LogfmError, match=r"the last steps were spikes.*no encoder is written"):
        pretrain(configure(tmp_path / "short", train={"learning_rate": 1e30, "steps": 8}))
    assert not list(tmp_path.glob("*/encoder")) and not list(tmp_path.glob("*/run"))


def test_the_last_validation_must_be_finite(configure, tmp_path, monkeypatch):
    measured = MaskedLanguageModel.validation_metrics
    config = configure(tmp_path, train={"steps": 2})
    with monkeypatch.context() as context:
        context.setattr(
            MaskedLanguageModel, "validation_metrics", lambda self: measured(self) | {"validation_loss": float("nan")}
        )
        with pytest.raises(LogfmError, match="the validation loss is nan at the end: no encoder is written"):
            pretrain(config)
    assert not (tmp_path / "encoder").exists()


def test_validation_hides_content_tokens_alone_where_training_hides_delimiters_too(configure, tmp_path, monkeypatch):
    hidden, losses = {True: [], False: []}, MaskedLanguageModel.losses

    def note(self, batch):
        hidden[self.training].append(batch.targets_M)
        return losses(self, batch)

    monkeypatch.setattr(MaskedLanguageModel, "losses", note)
    config = configure(tmp_path, **SMALL, masking={"delimiters": True})
    pretrain(config)
    delimiters = torch.from_numpy(LogTokenizer.load(config.tokenizer).delimiter_mask)
    trained, validated = (delimiters[torch.cat(hidden[training])].float().mean() for training in (True, False))
    assert trained > 0.1 and validated == 0 and len(hidden[False]) > 0


def test_an_unfinished_run_of_another_configuration_is_named(configure, tmp_path, monkeypatch):
    unfinished(configure(tmp_path, **SMALL), monkeypatch)
    changed = SMALL | {"train": SMALL["train"] | {"learning_rate": 0.02}}
    with pytest.raises(UserError, match=r"in the way: its train.learning_rate was 0.01, now it is 0.02"):
        pretrain(configure(tmp_path, **changed))
    assert saved_steps(tmp_path / ".run.partial" / "checkpoints")


def test_no_piece_is_longer_than_the_model_reads(configure, tmp_path):
    with pytest.raises(ValueError, match=r"data.max_tokens 64 exceeds model.max_tokens 32"):
        configure(tmp_path, model={"max_tokens": 32})
    with pytest.raises(ValueError, match="betas"):
        configure(tmp_path, train={"betas": (2, 0.9)})


def unfinished(config, monkeypatch):
    """A run that ends before it is whole, with its checkpoints written."""

    def end(*_):
        raise InterruptedError

    with monkeypatch.context() as context:
        context.setattr("logfm.pretrain.run._metrics", end)
        with pytest.raises(InterruptedError):
            pretrain(config)


def flipped(path):
    """One bit in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [flipped, lambda path: path.write_bytes(path.read_bytes()[:1000]), Path.touch])
def test_a_damaged_checkpoint_is_set_aside_for_an_older_one(configure, tmp_path, monkeypatch, capsys, harm):
    config = configure(tmp_path, **SMALL)
    unfinished(config, monkeypatch)
    folder = tmp_path / ".run.partial" / "checkpoints"
    if harm is Path.touch:
        (folder / "step=6.ckpt").unlink()
    harm(folder / "step=6.ckpt")
    assert pretrain(config).run.metrics["step"] == 6
    said = capsys.readouterr().err
    assert "kept as step=6.ckpt.damaged, going on from an older one" in said and "resuming at step 4" in said
    assert (tmp_path / "run" / "checkpoints" / "step=6.ckpt.damaged").exists()


def test_no_checkpoint_that_can_be_read_is_one_line(configure, tmp_path, monkeypatch):
    config = configure(tmp_path, **SMALL)
    unfinished(config, monkeypatch)
    folder = tmp_path / ".run.partial" / "checkpoints"
    for checkpoint in folder.glob("step=*.ckpt"):
        checkpoint.write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint can be read .BadZipFile.*step=6.ckpt. Delete"):
        pretrain(config)
    assert sorted(path.name for path in folder.glob("step*")) == ["step=4.ckpt", "step=6.ckpt"]


@pytest.mark.parametrize("kind", ["weights", "optimizer", "shards"])
def test_a_damaged_sharded_checkpoint_is_found_and_is_one_line(tmp_path, kind):
    shards = tmp_path / "run" / "checkpoints" / "step=4.ckpt" / "checkpoint"
    shards.mkdir(parents=True)
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_optim_states.pt", "zero_pp_rank_1_optim_states.pt"):
        torch.save({"weight": torch.randn(300, 30)}, shards / name)
    checkpoint = shards.parent
    assert damage(checkpoint, 2) is None and damage(checkpoint) is None
    assert damage(checkpoint, 3) == "2 shards of 3 are there"
    if kind == "shards":
        (shards / "mp_rank_00_model_states.pt").unlink()
        assert damage(checkpoint) == "the weights are missing"
    else:
        name = {"weights": "mp_rank_00_model_states.pt", "optimizer": "zero_pp_rank_1_optim_states.pt"}[kind]
        flipped(shards / name)
        assert damage(checkpoint, 2).startswith(f"{name}: ")
    pytest.importorskip("deepspeed")
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        load_weights(checkpoint)


def test_settings_that_change_no_weights_may_change_on_the_way(configure, tmp_path, monkeypatch):
    unfinished(configure(tmp_path, **SMALL), monkeypatch)
    train = SMALL["train"] | {
        "checkpoint_every": 3, "validate_every": 2, "max_spikes": 7, "timeout_minutes": 3, "peak_flops": 1e9,
        "activation_checkpointing": True,
    }  # fmt: skip
    outcome = pretrain(configure(tmp_path, **SMALL | {"train": train}))
    assert outcome.run.metrics["step"] == 6
    assert pretrain(configure(tmp_path, **SMALL)).run.created == outcome.run.created
    with pytest.raises(UserError, match="another pretrain run"):
        pretrain(configure(tmp_path, **SMALL | {"train": train | {"patience": 3}}))


def test_a_run_that_spikes_goes_on_from_its_checkpoint_with_a_lower_rate(configure, tmp_path, monkeypatch):
    original = MaskedLanguageModel.training_step

    def step(self, batch, batch_idx):
        high = self.train_config.learning_rate > 0.005 and self.global_step >= 4
        return original(self, batch, batch_idx) * (float("nan") if high else 1.0)

    monkeypatch.setattr(MaskedLanguageModel, "training_step", step)
    train = SMALL["train"] | {"max_spikes": 0, "steps": 12}
    with pytest.raises(LogfmError, match="the loss is nan at step 5") as error:
        pretrain(configure(tmp_path / "out", **SMALL | {"train": train}))
    command = re.search(r"logfm (export \S+ --out) FOLDER (--world-size 1)", str(error.value))
    folder = tmp_path / "state"
    assert main([*command[1].split(), str(folder), *command[2].split()]) == 0
    lower = ["--set", "train.learning_rate=0.004", "--set", f"out={tmp_path / 'on'}"]
    assert main(["pretrain", str(folder / "pretrain.yaml"), *lower]) == 0
    rows = read_history(tmp_path / "on" / "run")
    assert rows[-1]["step"] == 12 and all(row["learning_rate"] <= 0.004 for row in rows if row["step"] > 4)
    # The schedule's place is kept: at step 6 of 12 the rate is at its peak.
    assert next(row for row in rows if row["step"] == 6)["learning_rate"] == pytest.approx(0.004)


def test_on_a_gpu_no_batch_is_tried_on_the_cpu(capsys):
    batches = SimpleNamespace(shard=SimpleNamespace(lengths=np.array([1_000_000])))
    _announce(None, {"total": 3_000_000}, batches, 10, trial=False)
    assert capsys.readouterr().err == "pretraining: 3.0M parameters, 1.00M training tokens\n"


def test_more_devices_than_there_are_is_one_line(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"^train.devices is 8, and torch sees 2 GPUs. Set it to 2 or fewer.$"):
        pretrain(configure(tmp_path, train={"accelerator": "gpu", "devices": 8}))


def allocate():
    torch.empty(2**55)


def on_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nmany lines")


@pytest.mark.parametrize("failure", [allocate, on_a_gpu, lambda: np.empty(2**55)])
def test_too_little_memory_is_one_line(configure, tmp_path, monkeypatch, failure):
    monkeypatch.setattr(MaskedLanguageModel, "training_step", lambda *_: failure())
    with pytest.raises(LogfmError, match=r"^out of memory: set train.activation_checkpointing .*tokens_per_batch"):
        pretrain(configure(tmp_path, **SMALL))


def test_more_processes_than_batches_is_refused(configure, tmp_path):
    config = configure(tmp_path, data={"tokens_per_batch": 10**6}, train={"devices": 2})
    with pytest.raises(UserError, match="fewer batches than processes"):
        pretrain(config)


def test_the_schedule_warms_up_holds_and_decays():
    factors = [learning_rate_factor(p, warmup=0.1, decay=0.4) for p in (0.0, 0.05, 0.1, 0.6, 0.8, 1.0)]
    assert factors[0] > 0
    assert factors[1:] == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_every_shipped_recipe_is_valid():
    from logfm.configs import load, recipes
    from logfm.configs.schema.pretrain import PretrainConfig

    names = [name for name in recipes() if name.startswith("pretrain/")]
    assert names
    for name in names:
        assert isinstance(load(PretrainConfig, name), PretrainConfig)


def test_a_typo_in_a_configuration_names_the_key(tmp_path):
    from logfm.configs import load
    from logfm.configs.schema.pretrain import PretrainConfig

    path = Path(tmp_path) / "bad.yaml"
    path.write_text("corpus: a\ntokenizer: b\nout: c\ntrain: {steps: 3, lerning_rate: 1}\n")
    with pytest.raises(UserError, match=r"unknown key train.lerning_rate \(did you mean learning_rate\?\)"):
        load(PretrainConfig, path)
