"""One pretraining run: token shards, training with checkpoints, and the exported encoder."""

import logging
import math
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import orjson
import torch
from torch.utils import deterministic
from torch.utils.data import DataLoader

from logfm.allocator import reuse_freed_memory
from logfm.artifacts import (
    Manifest,
    finished,
    partial_folder,
    peak_memory,
    produce,
    read_manifest,
    stage_key,
    write_atomic,
)
from logfm.configs.schema.pretrain import PretrainConfig, TrainConfig
from logfm.console import say
from logfm.corpus.contamination import join_indexes
from logfm.corpus.store import Corpus
from logfm.errors import LogfmError, UserError
from logfm.pretrain import continuing, continuing_report, export, projection, shipped
from logfm.pretrain.callbacks import (
    Spikes,
    best_checkpoint,
    read_history,
    restore,
    saved_steps,
    side_concerns,
    stopped_early,
)
from logfm.pretrain.card import TRAINING, training_facts
from logfm.pretrain.compiling import compile_layers
from logfm.pretrain.continuing import Start
from logfm.pretrain.contrast.batches import PairBatches
from logfm.pretrain.contrast.module import ContrastiveModel
from logfm.pretrain.damage import sound_step
from logfm.pretrain.data import Ahead, Masker, Replay, Shard, TrainBatches, ValidationBatches
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.encoder import PretrainedEncoder
from logfm.pretrain.loggers import build_logger, finish
from logfm.pretrain.model import build, count_parameters
from logfm.pretrain.module import MaskedLanguageModel
from logfm.pretrain.peak import faster_in_bf16
from logfm.pretrain.resuming import State, TakeUp, older_run, open_state
from logfm.pretrain.saving import clear_unfinished, enough_memory, one_line
from logfm.pretrain.sources import REPLAY, TOKENS, VIEWS, learnt_from, prepare
from logfm.pretrain.strategy import build_strategy, check_launch, global_rank, plugins, uses_cpu
from logfm.tokenizer import LogTokenizer

_STAGE = "pretrain"
_AGAIN = "to begin again give a lower train.learning_rate and another out; history.jsonl has what led there"
# Warnings about Lightning's own use of torch, and about metrics that are reduced by hand here.
_NOISE = (
    r".*isinstance\(treespec, LeafSpec\)",
    r".*torch.distributed.nn.functional.all_gather is deprecated",
    r".*It is recommended to use `self.log\(.*sync_dist",
    r".*does not have many workers",
    r".*Checkpoint directory .* exists and is not empty",
)
# Training events whose mean is the centre of a map that is kept.
_CENTRE_EVENTS = 5000
# What a killed run needs to go on, and the finished artifact doesn't.
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Outcome:
    """The three artifacts of a run."""

    tokens: Manifest
    run: Manifest
    encoder: Manifest


def pretrain(config: PretrainConfig) -> Outcome | None:
    """Run, or go on with, a pretraining run; None on ranks other than the first.

    Finished stages under `config.out` are reused, a killed training resumes from its last checkpoint.

    Raises:
        UserError: missing or mismatched inputs, or an `out` that holds something else.
        LogfmError: more loss spikes than `train.max_spikes`.
    """
    check_launch(config.train)
    config = config.model_copy(update={"tokenizer": shipped.encoder_folder(config.tokenizer)})
    tokenizer = LogTokenizer.load(config.tokenizer)
    start = None if config.start is None else continuing.open_start(config.start, tokenizer)
    if start is not None:
        config = continuing.with_sizes(config, start.encoder)
    rank = global_rank()
    run_folder, encoder_folder = config.out / "run", config.out / "encoder"
    older = None if config.resume is None else older_run(config, config.resume)
    sources = prepare(config, tokenizer, start, older)
    data_keys = {"tokenizer": tokenizer.hash} | {name: manifest.key for name, manifest in sources.items()}
    state = None if config.resume is None else open_state(config.resume, data_keys)
    if state is not None:
        sources["state"] = state.manifest
    inputs = {"tokenizer": tokenizer.hash} | {name: manifest.hash for name, manifest in sources.items()}
    licences = {licence for manifest in sources.values() for licence in manifest.licences}
    paths: dict[str, Any] = dict.fromkeys(("corpus", "tokenizer", "out", "resume"), True)
    paths["start"] = {"encoder", "replay"}
    # What its file of templates says is in the key of the views.
    paths["contrast"] = True if config.contrast is None else {"templates"}
    paths["train"] = operational(config.train)
    settings = config.model_dump(mode="json", exclude=paths)
    config = settled(config, run_folder)
    if finished(run_folder, stage_key(_STAGE, settings, config.seed, inputs)) is None:
        if rank > 0:
            _fit(config, tokenizer, start, state, partial_folder(run_folder))
            return None
        with produce(
            run_folder, stage=_STAGE, config=settings, inputs=inputs, seed=config.seed, resumable=True
        ) as work:
            work.licences.update(licences)
            # Any checkpoint can then be exported with what lies beside it.
            facts = config.model_dump(mode="json") | {"licences": sorted(licences), "data_keys": data_keys}
            facts["legs"] = [] if state is None else [list(leg) for leg in state.legs]
            write_atomic(work.path / "config.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2))
            tokenizer.save(work.path / "tokenizer")
            if (kept := continuing.kept_map(config, start)) is not None:
                projection.write(kept, work.path)
            join_indexes(learnt_from(config, start), work.path)
            begun = None if start is None else start.config.encoder
            learnt = training_facts(config, Corpus.open(config.corpus).manifest, begun)
            write_atomic(work.path / TRAINING, orjson.dumps(learnt, option=orjson.OPT_INDENT_2))
            work.metrics.update(_fit(config, tokenizer, start, state, work.path))
            taken, held = work.metrics["tokens"], sources["tokens"].metrics["train"]["tokens"]
            learnt["tokens"] = {"taken": taken, "held": held}
            write_atomic(work.path / TRAINING, orjson.dumps(learnt, option=orjson.OPT_INDENT_2))
            if start is not None:
                say(continuing_report.write({"this run": work.path}, work.path / "report.html"))
    if rank > 0:
        return None
    encoder = export.export_run(run_folder, encoder_folder)
    return Outcome(sources["tokens"], read_manifest(run_folder), encoder)


def settled(config: PretrainConfig, run_folder: Path) -> PretrainConfig:
    """The configuration with the precision that the run, or the one that it takes up, began with; else a chosen one."""
    if config.train.precision != "auto":
        return config
    begun = [folder / "config.json" for folder in (config.resume, partial_folder(run_folder), run_folder) if folder]
    known = next((orjson.loads(path.read_bytes())["train"]["precision"] for path in begun if path.is_file()), None)
    one = uses_cpu(config.train) and config.train.devices * config.train.nodes == 1
    precision = known or ("32-true" if one and not faster_in_bf16() else "bf16-mixed")
    return config.model_copy(update={"train": config.train.model_copy(update={"precision": precision})})


def operational(train: TrainConfig) -> set[str]:
    """Settings of `train` that change no weights: a run goes on, bit for bit, with other values of them."""
    names = {"activation_checkpointing", "checkpoint_every", "logger", "max_spikes", "peak_flops", "timeout_minutes"}
    # Early stopping counts validations.
    return names | ({"validate_every"} if train.patience is None else set())


@enough_memory()
def _fit(
    config: PretrainConfig, tokenizer: LogTokenizer, start: Start | None, state: State | None, folder: Path
) -> Mapping[str, Any]:
    train, tokens = config.train, config.out / TOKENS
    replay = None if start is None or start.config.replay is None else config.out / REPLAY
    ranks = train.devices * train.nodes
    if uses_cpu(train):
        reuse_freed_memory()
    masker = Masker.of(tokenizer, config.masking, config.seed)
    rank = global_rank()
    size = config.data.tokens_per_batch
    share = 0.0 if start is None else start.config.replay_share
    old = Replay(Shard(replay, "train"), share, config.seed) if replay is not None and share > 0 else None
    batches: TrainBatches | PairBatches = TrainBatches(Shard(tokens, "train"), masker, size, rank, ranks, old)
    if config.contrast is not None:
        batches = PairBatches(config.out / VIEWS, tokenizer, masker, config.contrast, batches.shard, rank, ranks)
    # Content tokens alone, whatever training hides: figures of both ways of masking are then of one kind.
    content = Masker.of(tokenizer, config.masking.model_copy(update={"delimiters": False}), config.seed)
    held_out = [
        ValidationBatches(Shard(part, "validation"), content, size, config.data.validation_tokens, rank, ranks)
        for part in (tokens, replay)
        if part is not None
    ]
    if batches.per_epoch() < 1:
        fix = "Lower data.tokens_per_batch (or contrast.events), or train.devices."
        raise UserError(f"fewer batches than processes ({ranks})", tokens, fix)
    if state is not None:
        batches.legs = state.legs
    steps = _steps(config, batches.per_epoch() // train.accumulate, batches)
    model = build(config.model, tokenizer.vocab_size, tokenizer.pad_id, config.seed)
    decoder = build_decoder(config.model, config.seed)
    if start is not None:
        continuing.take_weights(model, decoder, start.encoder, tokenizer)
    if train.compile:
        compile_layers(model)
    module = MaskedLanguageModel(model, decoder, train, steps, tokenizer.byte_lengths)
    if config.contrast is not None:
        module = ContrastiveModel(model, decoder, train, steps, tokenizer.byte_lengths)
        module.contrast = config.contrast
    parameters = count_parameters(module)
    if rank == 0:
        _announce(module, parameters, batches, steps, trial=uses_cpu(train))
    loaders = [DataLoader(data, batch_size=None) for data in held_out]
    first: list[lightning.Callback] = [] if start is None else [continuing.MeasureStart(folder, loaders)]
    resume = _resume(folder / CHECKPOINTS, batches, train.accumulate)
    take_up = None if state is None or resume is not None else TakeUp(state, train.accumulate, folder)
    trainer = _trainer(config, tokenizer.vocab_size, folder, steps, first if take_up is None else [take_up, *first])
    if take_up is not None:
        take_up.counters(trainer, module)
    with one_line(ranks, train.timeout_minutes):
        metrics = _train(trainer, module, batches, loaders, folder, resume)
    if rank == 0:
        _project(module, tokenizer, batches, config, folder)
        _centre_anew(module, tokenizer, batches.shard, config, start, folder)
    return {"parameters": parameters, "precision": train.precision, **metrics}


def _project(
    module: MaskedLanguageModel,
    tokenizer: LogTokenizer,
    batches: TrainBatches | PairBatches,
    config: PretrainConfig,
    folder: Path,
) -> None:
    """Fit the map behind the pooling, where one is asked for, on what the stage trained on."""
    contrast = config.contrast
    if contrast is None or contrast.projection == "none" or not isinstance(batches, PairBatches):
        return
    encoder = PretrainedEncoder(module.model.eval(), tokenizer, folder, config.data.max_tokens)
    vectors = encoder.pool(batches.sample(contrast.projection_events))
    projection.write(projection.fit(vectors, contrast.projection, contrast.whitening), folder)


def _centre_anew(
    module: MaskedLanguageModel,
    tokenizer: LogTokenizer,
    shard: Shard,
    config: PretrainConfig,
    start: Start | None,
    folder: Path,
) -> None:
    """Move the centre of the map that the run keeps to where training events now are."""
    kept = continuing.kept_map(config, start)
    if kept is None:
        return
    if config.train.strategy == "deepspeed" and config.train.zero_stage == 3:
        say("the map behind the pooling is the old encoder's, with its centre: ZeRO 3 has the weights in pieces")
        return
    rows = np.linspace(0, len(shard.lengths) - 1, min(_CENTRE_EVENTS, len(shard.lengths)), dtype=np.int64)
    encoder = PretrainedEncoder(module.model.eval(), tokenizer, folder, config.data.max_tokens)
    # What pools puts [CLS] and [SEP] around them itself.
    vectors = encoder.pool([ids[1:-1] for ids in shard.events(rows)])
    projection.write(projection.centred_anew(kept, vectors), folder)
    say(f"the map behind the pooling is kept, centred anew on {len(rows):,} training events")


def _train(
    trainer: lightning.Trainer,
    module: MaskedLanguageModel,
    batches: TrainBatches | PairBatches,
    loaders: list[DataLoader[Any]],
    folder: Path,
    resume: Path | None,
) -> dict[str, Any]:
    # On a CPU there is no time beside the products in which to make the next batch.
    data = batches if uses_cpu(module.train_config) else Ahead(batches)
    trainer.fit(module, DataLoader(data, batch_size=None), loaders, ckpt_path=resume)
    if trainer.interrupted:
        raise LogfmError("training was interrupted; the same command resumes it")
    callbacks: list[lightning.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if any(one.damaged() for one in callbacks if isinstance(one, Spikes)):
        raise LogfmError(
            f"the last steps were spikes, with no checkpoint to return to: no encoder is written; {_AGAIN}"
        )
    best = best_checkpoint(folder / CHECKPOINTS)
    exported = trainer.global_step
    if stopped_early(trainer) and best is not None:
        exported = restore(trainer, best)
    # Saved first: validation makes DeepSpeed start again for inference, without optimiser shards to save.
    trainer.save_checkpoint(folder / export.FINAL, weights_only=True)
    trainer.validate(module, loaders, verbose=False)
    if not math.isfinite(loss := float(trainer.callback_metrics.get("validation_loss", 0.0))):
        raise LogfmError(f"the validation loss is {loss} at the end: no encoder is written; {_AGAIN}")
    metrics = _metrics(read_history(folder), trainer.callback_metrics)
    finish(trainer.loggers)
    return {"replay_share": batches.replay_share(), "exported_step": exported, **metrics}


def _steps(config: PretrainConfig, steps_per_epoch: int, batches: TrainBatches | PairBatches) -> int:
    """Optimizer steps until the nearer of the limits that count steps, those before a change of ranks included."""
    limits = [config.train.steps or 2**31]
    if config.train.epochs is not None:
        done = batches.legs[-1].step if batches.legs else 0
        left = config.train.epochs - batches.epochs_done()
        limits.append(done + max(1, round(left * max(1, steps_per_epoch))))
    return min(limits)


def _announce(
    module: MaskedLanguageModel,
    parameters: dict[str, int],
    batches: TrainBatches | PairBatches,
    steps: int,
    trial: bool,
) -> None:
    """Say what is to come before it starts: size, data, and after a `trial` batch the time and memory to expect.

    Without a trial where training is on a GPU: on this CPU a batch of its size takes minutes, and says nothing.
    """
    tokens = int(batches.shard.lengths.sum())
    size = f"pretraining: {parameters['total'] / 1e6:.1f}M parameters, {tokens / 1e6:.2f}M training tokens"
    if not trial:
        say(size)
        return
    start = time.monotonic()
    sample: Any = next(iter(batches))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=module.train_config.precision != "32-true"):
        loss, _, _ = module.losses(sample)
    loss.backward()
    module.zero_grad(set_to_none=True)
    seconds = time.monotonic() - start
    minutes = steps * seconds / 60
    if module.train_config.minutes is not None:
        minutes = min(minutes, module.train_config.minutes)
    # Batches differ in shape, and memory grows for some hundred steps before it levels out.
    say(
        f"{size}, at most {minutes:.1f} minutes (one batch took {seconds:.1f} s); {peak_memory() / 1e9:.1f} GB of "
        "memory after one batch, expect up to three times that"
    )


def _trainer(
    config: PretrainConfig, vocab_size: int, folder: Path, steps: int, first: Sequence[lightning.Callback] = ()
) -> lightning.Trainer:
    train = config.train
    assert train.precision != "auto", "settled when the run began"
    # Lightning's own lines (devices, tips) drown what people need to see; warnings still come.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Determinism would write all memory before its first use; nothing reads it.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return lightning.Trainer(
        accelerator="cpu" if uses_cpu(train) else "gpu",
        devices=train.devices,
        num_nodes=train.nodes,
        strategy=build_strategy(train),
        plugins=plugins(train),
        precision=train.precision,
        max_steps=steps,
        gradient_clip_val=train.gradient_clip,
        val_check_interval=train.validate_every * train.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        accumulate_grad_batches=train.accumulate,
        log_every_n_steps=10,
        logger=build_logger(config, folder),
        callbacks=[*first, *side_concerns(config, vocab_size, folder, folder / CHECKPOINTS)],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=True,
        default_root_dir=folder,
    )


def _resume(folder: Path, batches: TrainBatches | PairBatches, accumulate: int) -> Path | None:
    """The newest checkpoint that can be read, and the data's position set to it."""
    if global_rank() == 0:
        clear_unfinished(folder)
    saved = saved_steps(folder)
    step = sound_step(saved, batches.ranks)
    if step is None:
        return None
    before = batches.legs[-1].step if batches.legs else 0
    batches.start = (step - before) * accumulate
    say(f"resuming at step {step}")
    return saved[step]


def _metrics(history: list[dict[str, Any]], last: Mapping[str, Any]) -> dict[str, Any]:
    measured = ("validation_", "old_validation_")
    final = {name: float(value) for name, value in last.items() if name.startswith(measured)}
    final |= {f"start_{name}": row[name] for row in history[:1] if row["step"] == 0 for name in final if name in row}
    done = history[-1] if history else {"step": 0, "tokens": 0, "tokens_per_second": 0.0}
    return {**final, **{name: done[name] for name in ("step", "tokens", "tokens_per_second")}}
