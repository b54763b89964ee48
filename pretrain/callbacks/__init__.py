"""Side concerns of training, one a file; the training module knows none of them."""

from pathlib import Path

import lightning

from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain.callbacks.checkpoints import Checkpoints, best_checkpoint, keep_best, restore, saved_steps
from logfm.pretrain.callbacks.history import HISTORY, History, read_history
from logfm.pretrain.callbacks.limits import StopWhenDone, stop_without_improvement, stopped_early
from logfm.pretrain.callbacks.memory import ReleaseMemory
from logfm.pretrain.callbacks.spikes import Spikes
from logfm.pretrain.callbacks.throughput import Throughput

__all__ = [
    "HISTORY",
    "Checkpoints",
    "History",
    "ReleaseMemory",
    "Spikes",
    "StopWhenDone",
    "Throughput",
    "best_checkpoint",
    "keep_best",
    "read_history",
    "restore",
    "saved_steps",
    "side_concerns",
    "stop_without_improvement",
    "stopped_early",
]

_EVERY = 10


def side_concerns(config: PretrainConfig, vocab_size: int, folder: Path, checkpoints: Path) -> list[lightning.Callback]:
    """The callbacks of a run that writes its record to `folder`, in the order in which they must come."""
    train = config.train
    throughput = Throughput(config.model, vocab_size, train)
    history = History(folder, _EVERY, throughput)
    spikes = Spikes(train, checkpoints, history)
    callbacks = [throughput, history, spikes, StopWhenDone(), ReleaseMemory()]
    if train.patience is not None:
        callbacks += [stop_without_improvement(train.patience), keep_best(checkpoints)]
    return [*callbacks, Checkpoints(checkpoints, train.checkpoint_every, spikes.unsure)]
