"""Training of adapters: the loss stands on the answers' tokens, and a killed run goes on where it was."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from logfm.artifacts import peak_memory
from logfm.configs.schema.decoder import DecoderTrainingConfig
from logfm.console import progress
from logfm.errors import LogfmError, UserError
from logfm.finetune.decoder.adapters import decoder_of
from logfm.finetune.decoder.frozen import FrozenStates
from logfm.finetune.decoder.packing import Batch, Example, collate, plan
from logfm.finetune.decoder.stack import Stack
from logfm.pretrain.saving import WholeCheckpointIO, clear_unfinished

Step = list[Batch]

CHECKPOINTS = "checkpoints"
_STATES = "frozen.states"
_NOISE = (r".*does not have many workers", r".*isinstance\(treespec, LeafSpec\)", r".*Checkpoint directory .* exists",
          r".*is_gradient_checkpointing", r".*in eval mode at the start of training")  # fmt: skip


class Steps(IterableDataset[Step]):
    """The optimizer steps of a whole training from `start` on."""

    def __init__(self, given: Sequence[Example], config: DecoderTrainingConfig, pad: int, seed: int) -> None:
        self.given, self.config, self.pad, self.seed = given, config, pad, seed
        self.start = 0

    def __iter__(self) -> Iterator[Step]:
        lengths = [len(one.tokens) for one in self.given]
        for number, step in enumerate(plan(lengths, self.config, self.seed)):
            if number >= self.start:
                yield [collate(rows, self.given, self.pad) for rows in step]

    def count(self) -> int:
        """Optimizer steps in all."""
        return self.config.epochs * -(-len(self.given) // self.config.batch)


class Adapting(lightning.LightningModule):
    """Trains the adapters of a peft model; everything else in it is frozen, and not in its checkpoints."""

    def __init__(
        self, model: Any, prefix: torch.Tensor, states: FrozenStates | None, config: DecoderTrainingConfig, steps: int
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False
        self.model, self.prefix, self.states = model, prefix, states
        self.config, self.steps = config, steps
        self.elapsed, self._since = 0.0, time.monotonic()
        self.losses: list[float] = []
        self.tell: Callable[[float], Any] = lambda _: None
        self._random: torch.Tensor | None = None

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed loss of the answers' tokens of a batch, each times its weight."""
        base = self.model.get_base_model()
        place = base.device
        if self.states is None:
            _, states = Stack(base).states(self.prefix.to(place), batch.tokens_BL.to(place))
        else:
            below = (one.to(place, base.dtype) for one in (self.states.prefix, self.states.take(batch)))
            _, states = Stack(base, frozen_layers(self.model)).states(*below)
        # The vocabulary's matrix is a fifth of a small model: it sees only the places that predict.
        picked = states.flatten(0, 1)[batch.sources_N.to(place)]
        logits = base.get_output_embeddings()(picked).float()
        found = torch.nn.functional.cross_entropy(logits, batch.targets_N.to(place), reduction="none")
        return (found * batch.weights_N.to(place)).sum()

    def training_step(self, step: Step, batch_idx: int) -> None:
        """One optimizer step over its parts."""
        if self._random is not None:
            # Here, not where it is read: what lies between draws as well.
            torch.set_rng_state(self._random)
            self._random = None
        optimizer: Any = self.optimizers()
        # Not by the sum of weights: beside long labels a case would count less.
        cases = sum(len(batch.rows) for batch in step)
        total = 0.0
        for batch in step:
            loss = self.loss(batch) / cases
            self.manual_backward(loss)
            total += float(loss.detach())
        if not math.isfinite(total):
            raise UserError("the loss is no finite number", fix="Lower training.learning_rate.")
        self.clip_gradients(optimizer, self.config.clip, "norm")
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._factor()
        optimizer.step()
        optimizer.zero_grad()
        self.losses.append(round(total, 5))
        now = time.monotonic()
        self.elapsed, self._since = self.elapsed + now - self._since, now
        if self.progress() >= 1:
            self.trainer.should_stop = True
        self.tell(1)

    def progress(self) -> float:
        """Share of the training that is done: of its steps, or of its time where that is up sooner."""
        share = len(self.losses) / self.steps
        return share if self.config.minutes is None else max(share, self.elapsed / 60 / self.config.minutes)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the adapters."""
        trained = [one for one in self.parameters() if one.requires_grad]
        return torch.optim.AdamW(trained, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        """Leave it: a part moves when its turn has come."""
        return batch

    def on_train_start(self) -> None:
        """Start the clock."""
        self._since = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the adapters, the clock, the losses and the random state only."""
        trained = {name for name, one in self.named_parameters() if one.requires_grad}
        checkpoint["state_dict"] = {name: one for name, one in checkpoint["state_dict"].items() if name in trained}
        checkpoint["elapsed"], checkpoint["losses"] = self.elapsed, list(self.losses)
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the clock, the losses and the random state."""
        self._random = checkpoint["random"].cpu()
        self.elapsed, self.losses = float(checkpoint["elapsed"]), [float(one) for one in checkpoint["losses"]]

    def _factor(self) -> float:
        done = min(1.0, self.progress() + 1 / self.steps)
        if done < self.config.warmup:
            return done / self.config.warmup
        return 0.5 * (1 + math.cos(math.pi * (done - self.config.warmup) / (1 - self.config.warmup)))


class Checkpoints(lightning.Callback):
    """Keeps the newest state of a training, under the number of its steps."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        """Save every so many steps; what was there before goes when the new one is whole."""
        step = len(pl_module.losses)
        if step % self.every or step >= pl_module.steps:
            return
        before = list(self.folder.glob("*.ckpt"))
        trainer.save_checkpoint(self.folder / f"{step}.ckpt")
        for path in before:
            path.unlink()


def train_adapter(
    model: Any,
    prefix: Sequence[int],
    given: Sequence[Example],
    config: DecoderTrainingConfig,
    pad: int,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Train a peft model's adapters in place, on examples that follow on `prefix`; what a killed run needs lies in
    `folder` until the caller removes it.

    Returns figures: losses, steps, tokens, seconds, peak memory.

    Raises:
        UserError: the loss is no finite number.
        LogfmError: it was interrupted.
    """
    _hush()
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    base = model.get_base_model()
    frozen = frozen_layers(model)
    start = torch.tensor(prefix)
    states = None
    if frozen:
        states = FrozenStates(base, frozen, start, given, config.tokens, pad, folder / _STATES)
    before = time.monotonic() - begun
    data = Steps(given, config, pad, seed)
    module = Adapting(model, start, states, config, data.count())
    resume = _newest(folder)
    if resume is not None:
        data.start = int(resume.stem)
    torch.manual_seed(seed)
    with progress("training", data.count()) as advance:
        advance(data.start)
        module.tell = advance
        trainer = _trainer(folder, config, base.device.type, base.dtype)
        model.train()
        trainer.fit(module, DataLoader(data, batch_size=None), ckpt_path=resume)
    if trainer.interrupted:
        raise LogfmError("training was interrupted; the same command resumes it")
    model.eval()
    return {
        "losses": module.losses,
        "steps": len(module.losses),
        "steps_planned": data.count(),
        "trained_parameters": sum(one.numel() for one in model.parameters() if one.requires_grad),
        "frozen_layers": frozen,
        "frozen_seconds": round(before, 1),
        "training_seconds": round(module.elapsed, 1),
        "peak_memory_bytes": peak_memory(),
    }


def frozen_layers(model: Any) -> int:
    """Layers below the first with an adapter."""
    for number, layer in enumerate(decoder_of(model.get_base_model()).layers):
        if any(one.requires_grad for one in layer.parameters()):
            return number
    raise UserError("no layer has an adapter")


def _trainer(folder: Path, config: DecoderTrainingConfig, kind: str, dtype: torch.dtype) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu" if kind == "cpu" else "gpu",
        devices=1,
        precision="bf16-mixed" if dtype == torch.bfloat16 else "32-true",
        max_epochs=1,
        logger=False,
        plugins=[WholeCheckpointIO()],
        callbacks=[Checkpoints(folder / CHECKPOINTS, config.checkpoint)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def _newest(folder: Path) -> Path | None:
    place = folder / CHECKPOINTS
    if not place.is_dir():
        return None
    clear_unfinished(place)
    return max(place.glob("*.ckpt"), key=lambda path: int(path.stem), default=None)


def _hush() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
