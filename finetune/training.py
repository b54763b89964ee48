"""The training loop that all heads share: seeded, with early stopping and exact resume."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from logfm.configs.schema.finetune import TrainingConfig
from logfm.console import progress
from logfm.errors import UserError
from logfm.finetune.judging import Labels, pr_auc
from logfm.finetune.sequences import Rows, Sequences

# Batches whose sequences are sorted by length together.
_POOL = 16


class Network(Protocol):
    """What every head's module does beside being a module."""

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """Take from the training sequences what is no weight: a scale, a graph."""

    def prepare(self, sequences: Sequences) -> Any:
        """What `forward` reads of sequences, computed once."""

    def forward(self, prepared: Any, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""


class Examples(NamedTuple):
    """Prepared sequences, their labels and their events, int64 (n,)."""

    prepared: Any
    labels: Labels
    lengths: Rows


@dataclass
class _Progress:
    """Where a training stands at the end of an epoch."""

    epoch: int = 0
    best_epoch: int = -1
    best_score: list[float] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    network: nn.Module,
    examples: Examples,
    validation: Examples | None,
    config: TrainingConfig,
    seed: int,
    state: Path | None = None,
) -> list[dict[str, float]]:
    """Train in place; returns the losses and validation scores of the epochs.

    Without validation the last epoch is kept. With `state`, a file, a training that was killed goes on from the end of
    its last epoch and gives the same weights as one that was not. torch's random state is that of `seed`.

    Raises:
        UserError: the loss is no finite number.
    """
    rate = config.learning_rate
    groups = getattr(network, "parameter_groups", lambda rate: [{"params": list(network.parameters()), "lr": rate}])
    optimizer = torch.optim.AdamW(groups(rate), lr=rate, weight_decay=config.weight_decay)
    weights = _class_weights(examples.labels, config).to(_device(network))
    at = _resume(network, optimizer, state)
    with progress("epochs", config.epochs) as advance:
        advance(at.epoch)
        while at.epoch < config.epochs and at.epoch - at.best_epoch <= config.patience:
            row = {"loss": _epoch(network, optimizer, examples, weights, config, (seed, at.epoch))}
            if validation is not None:
                row |= _validate(network, validation, weights, config)
                score = [-row["validation_loss"]]
                if config.monitor == "pr_auc":
                    score.insert(0, round(row["validation_pr_auc"], 4))
            if validation is None or score > at.best_score:
                at.best_epoch = at.epoch
                at.best_score = [] if validation is None else score
                at.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
            at.history.append({name: round(value, 6) for name, value in row.items()})
            at.epoch += 1
            _save(network, optimizer, at, state)
            advance(1)
    network.load_state_dict(at.best)
    network.eval()
    return at.history


def probabilities(network: nn.Module, prepared: Any, lengths: Rows, batch: int) -> torch.Tensor:
    """Probabilities of the classes of prepared sequences of these lengths, float32 (n, classes) on the CPU."""
    network.eval()
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for rows in _batches(np.argsort(lengths, kind="stable"), batch):
            part = torch.softmax(network(prepared, rows).float(), 1).cpu()
            found.update(zip(rows.tolist(), part, strict=True))
    return torch.stack([found[row] for row in range(len(lengths))])


def _epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    weights: torch.Tensor,
    config: TrainingConfig,
    seed: tuple[int, int],
) -> float:
    network.train()
    total = 0.0
    targets = torch.from_numpy(examples.labels).to(weights.device)
    for rows in _plan(examples.lengths, config.batch, seed):
        loss = cross_entropy(network(examples.prepared, rows), targets[torch.from_numpy(rows)], weights)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise UserError(f"the loss is no finite number in epoch {seed[1] + 1}", fix="Lower training.learning_rate.")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        total += value * len(rows)
    return total / len(targets)


def _validate(
    network: nn.Module, validation: Examples, weights: torch.Tensor, config: TrainingConfig
) -> dict[str, float]:
    found = probabilities(network, validation.prepared, validation.lengths, config.batch)
    targets = torch.from_numpy(validation.labels)
    loss = torch.nn.functional.nll_loss(found.clamp_min(1e-12).log(), targets, weights.cpu())
    return {"validation_loss": float(loss), "validation_pr_auc": pr_auc(found.numpy(), validation.labels)}


def _class_weights(labels: Labels, config: TrainingConfig) -> torch.Tensor:
    counts = np.bincount(labels)
    if config.class_weights == "none":
        return torch.ones(len(counts))
    return torch.from_numpy(len(labels) / (len(counts) * counts)).float()


def _plan(lengths: Rows, size: int, seed: tuple[int, int]) -> Iterator[Rows]:
    """Batches of a shuffled pass in random order; sequences of similar length meet, which saves padding."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    pools = [pool[np.argsort(lengths[pool], kind="stable")] for pool in _batches(order, _POOL * size)]
    batches = [rows for pool in pools for rows in _batches(pool, size)]
    yield from (batches[place] for place in rng.permutation(len(batches)))


def _batches(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _save(network: nn.Module, optimizer: torch.optim.Optimizer, at: _Progress, state: Path | None) -> None:
    if state is None:
        return
    temporary = state.with_name(f".{state.name}.partial")
    with temporary.open("wb") as stream:
        content = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "at": vars(at)}
        torch.save(content | {"random": torch.get_rng_state()}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(state)


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, state: Path | None) -> _Progress:
    if state is None or not state.is_file():
        return _Progress()
    found = torch.load(state, weights_only=True, map_location=_device(network))
    network.load_state_dict(found["network"])
    optimizer.load_state_dict(found["optimizer"])
    torch.set_rng_state(found["random"].cpu())
    return _Progress(**found["at"])
