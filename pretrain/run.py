"""One pretraining run: token shards, training with checkpoints, and the exported encoder."""

import logging
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import orjson
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

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
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.console import say
from logfm.corpus.store import Corpus
from logfm.errors import LogfmError, UserError
from logfm.pretrain import export
from logfm.pretrain.callbacks import History, ReleaseMemory, StopWhenDone, read_history
from logfm.pretrain.data import Masker, Shard, TrainBatches, ValidationBatches
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.masking import maskable_ids
from logfm.pretrain.model import build, count_parameters
from logfm.pretrain.module import MaskedLanguageModel
from logfm.pretrain.strategy import build_strategy, global_rank, uses_cpu
from logfm.pretrain.tokens import build_tokens
from logfm.tokenizer import LogTokenizer

_STAGE = "pretrain"
_WAIT_SECONDS = 3600.0
# Warnings about Lightning's own use of torch, and about metrics that are reduced by hand here.
_NOISE = (
    r".*isinstance\(treespec, LeafSpec\)",
    r".*torch.distributed.nn.functional.all_gather is deprecated",
    r".*It is recommended to use `self.log\(.*sync_dist",
    r".*does not have many workers",
    r".*Checkpoint directory .* exists and is not empty",
)
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
        LogfmError: the loss became NaN.
    """
    corpus, tokenizer = Corpus.open(config.corpus), LogTokenizer.load(config.tokenizer)
    rank = global_rank()
    tokens_folder, run_folder, encoder_folder = (config.out / name for name in ("tokens", "run", "encoder"))
    if rank == 0:
        build_tokens(corpus, tokenizer, tokens_folder, config.data, config.seed)
    tokens = _await_manifest(tokens_folder)
    if tokens.inputs["tokenizer"] != tokenizer.hash:
        raise UserError("the token shards were made by another tokenizer", tokens_folder, "Choose another out.")
    settings = config.model_dump(mode="json", exclude={"corpus", "tokenizer", "out"})
    inputs = {"tokens": tokens.hash, "tokenizer": tokenizer.hash}
    if finished(run_folder, stage_key(_STAGE, settings, config.seed, inputs)) is None:
        if rank > 0:
            _fit(config, tokenizer, tokens_folder, partial_folder(run_folder))
            return None
        with produce(
            run_folder, stage=_STAGE, config=settings, inputs=inputs, seed=config.seed, resumable=True
        ) as work:
            work.licences.update(tokens.licences)
            # Any checkpoint can then be exported with what lies beside it.
            facts = config.model_dump(mode="json") | {"licences": tokens.licences}
            write_atomic(work.path / "config.json", orjson.dumps(facts, option=orjson.OPT_INDENT_2))
            tokenizer.save(work.path / "tokenizer")
            work.metrics.update(_fit(config, tokenizer, tokens_folder, work.path))
    if rank > 0:
        return None
    encoder = export.export_run(run_folder, encoder_folder)
    return Outcome(tokens, read_manifest(run_folder), encoder)


def _fit(config: PretrainConfig, tokenizer: LogTokenizer, tokens: Path, folder: Path) -> Mapping[str, Any]:
    train = config.train
    ranks = train.devices * train.nodes
    masker = Masker(
        maskable_ids(tokenizer.delimiter_mask, np.flatnonzero(tokenizer.byte_lengths == 0), config.masking.delimiters),
        tokenizer.mask_id,
        config.masking,
        config.seed,
    )
    rank = global_rank()
    batches = TrainBatches(Shard(tokens, "train"), masker, config.data.tokens_per_batch, rank, ranks)
    held_out = ValidationBatches(
        Shard(tokens, "validation"),
        masker,
        config.data.tokens_per_batch,
        config.data.validation_tokens,
        rank,
        ranks,
    )
    if batches.per_epoch() < 1:
        raise UserError(
            f"fewer batches than processes ({ranks})", tokens, "Lower data.tokens_per_batch or train.devices."
        )
    steps = _steps(config, batches.per_epoch() // train.accumulate)
    model = build(config.model, tokenizer.vocab_size, tokenizer.pad_id, config.seed)
    decoder = build_decoder(config.model, config.seed)
    module = MaskedLanguageModel(model, decoder, train, steps, tokenizer.byte_lengths)
    parameters = count_parameters(module)
    if rank == 0:
        _announce(module, parameters, batches, steps)
    trainer = _trainer(config, folder, steps)
    resume = _resume(folder / CHECKPOINTS, batches, train.accumulate)
    loaders = [DataLoader(data, batch_size=None) for data in (batches, held_out)]
    trainer.fit(module, loaders[0], loaders[1], ckpt_path=resume)
    if trainer.interrupted:
        raise LogfmError("training was interrupted; the same command resumes it")
    # Saved first: validation makes DeepSpeed start again for inference, without optimiser shards to save.
    trainer.save_checkpoint(folder / export.FINAL, weights_only=True)
    trainer.validate(module, loaders[1], verbose=False)
    return {"parameters": parameters, **_metrics(read_history(folder), trainer.callback_metrics)}


def _steps(config: PretrainConfig, steps_per_epoch: int) -> int:
    """Optimizer steps until the nearer of the limits that count steps."""
    limits = [config.train.steps or 2**31]
    if config.train.epochs is not None:
        limits.append(max(1, round(config.train.epochs * max(1, steps_per_epoch))))
    return min(limits)


def _announce(module: MaskedLanguageModel, parameters: dict[str, int], batches: TrainBatches, steps: int) -> None:
    """Say what is to come before it starts: size, data, the time and memory to expect."""
    start = time.monotonic()
    sample = next(iter(batches))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=module.train_config.precision != "32-true"):
        nll, _ = module.losses(sample)
    nll.sum().backward()
    module.zero_grad(set_to_none=True)
    seconds = time.monotonic() - start
    tokens = int(batches.shard.lengths.sum())
    minutes = steps * seconds / 60
    if module.train_config.minutes is not None:
        minutes = min(minutes, module.train_config.minutes)
    # Batches differ in shape, and memory grows for some hundred steps before it levels out.
    say(
        f"pretraining: {parameters['total'] / 1e6:.1f}M parameters, {tokens / 1e6:.2f}M training tokens, at most "
        f"{minutes:.1f} minutes (one batch took {seconds:.1f} s); {peak_memory() / 1e9:.1f} GB of memory after one "
        "batch, expect up to three times that"
    )


def _trainer(config: PretrainConfig, folder: Path, steps: int) -> lightning.Trainer:
    train = config.train
    # Lightning's own lines (devices, tips) drown what people need to see; warnings still come.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    checkpoints = ModelCheckpoint(
        folder / CHECKPOINTS,
        filename="{step}",
        monitor="step",
        mode="max",
        save_top_k=2,
        every_n_train_steps=train.checkpoint_every,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
    return lightning.Trainer(
        accelerator="cpu" if uses_cpu(train) else "gpu",
        devices=train.devices,
        num_nodes=train.nodes,
        strategy=build_strategy(train),
        precision=train.precision,
        max_steps=steps,
        gradient_clip_val=train.gradient_clip,
        val_check_interval=train.validate_every * train.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        accumulate_grad_batches=train.accumulate,
        log_every_n_steps=10,
        logger=TensorBoardLogger(folder, name=None, version="tensorboard"),
        callbacks=[checkpoints, History(folder, every=10), StopWhenDone(), ReleaseMemory()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic=True,
        default_root_dir=folder,
    )


def _resume(folder: Path, batches: TrainBatches, accumulate: int) -> Path | None:
    """The newest checkpoint, and the data's position set to it."""
    steps = sorted((int(path.stem.partition("=")[2]), path) for path in folder.glob("step=*.ckpt"))
    if not steps:
        return None
    step, path = steps[-1]
    batches.start = step * accumulate
    say(f"resuming at step {step}")
    return path


def _metrics(history: list[dict[str, Any]], last: Mapping[str, Any]) -> dict[str, Any]:
    final = {name: float(value) for name, value in last.items() if name.startswith("validation_")}
    done = history[-1] if history else {"step": 0, "tokens": 0, "tokens_per_second": 0.0}
    return {**final, **{name: done[name] for name in ("step", "tokens", "tokens_per_second")}}


def _await_manifest(folder: Path) -> Manifest:
    """The first rank writes the token shards; the others wait for them."""
    deadline = time.monotonic() + (0 if global_rank() == 0 else _WAIT_SECONDS)
    while not (folder / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return read_manifest(folder)
