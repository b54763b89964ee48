"""One interface to every trainable head: fit on labelled sequences, score others, save, load."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from logfm.artifacts import file_hash, write_atomic
from logfm.configs.schema.finetune import (
    GnnConfig,
    HeadConfig,
    LastLayerConfig,
    LstmConfig,
    ReadsTexts,
    TrainingConfig,
    TransformerConfig,
    WholeConfig,
)
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.finetune.judging import Labels, choose_threshold
from logfm.finetune.sequences import Sequences, Vectors
from logfm.finetune.training import Examples, probabilities, train

HEAD, WEIGHTS = "head.json", "head.safetensors"
_FORMAT = 1
# Sequences whose prepared form is held at once while others are scored.
_CHUNK = 512
Labelled = tuple[Sequences, Any]


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head. Scores of a sequence depend on that sequence alone."""

    config: HeadConfig
    classes: tuple[str, ...]
    dim: int
    threshold: float
    """The score above which a sequence is called an attack; means something with two classes only."""
    encoder_hash: str | None
    """Identity of the encoder whose vectors it learned from; None where `fit` was not told."""
    network: nn.Module = field(repr=False)
    history: list[dict[str, float]] = field(default_factory=list, repr=False)
    """Losses and validation scores of the epochs of its training."""

    @classmethod
    def fit(
        cls,
        config: HeadConfig,
        sequences: Sequences,
        labels: Any,
        validation: Labelled | None = None,
        *,
        training: TrainingConfig | None = None,
        classes: tuple[str, ...] = ("normal", "attack"),
        encoder: LogEncoder | None = None,
        seed: int = 0,
        state: Path | None = None,
    ) -> "Head":
        """Train a head; `labels` is int (n,), positions in `classes`, the first of which is what is normal.

        `validation` stops the training early and sets the threshold; without it the training runs all epochs and the
        threshold is 0.5. `encoder` is what made the vectors. With `state`, a file, a killed training goes on.

        Raises:
            UserError: a class without a training sequence, validation of one class only, an unknown label, vectors of
                another width, or a head that needs an encoder of logfm and gets another.
        """
        training = training or TrainingConfig()
        targets = _checked(labels, sequences, classes, "training", len(classes))
        held = None
        if validation is not None:
            held = (validation[0], _checked(validation[1], validation[0], classes, "validation", 2))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(config, sequences.dim, len(classes), encoder)
            cut = sequences.trimmed(config.most_events)[0]
            network.fit_inputs(cut, seed)
            prepared = Examples(network.prepare(cut), targets, cut.lengths)
            watched = None
            if held is not None:
                _same_width(held[0], sequences.dim)
                short = held[0].trimmed(config.most_events)[0]
                watched = Examples(network.prepare(short), held[1], short.lengths)
            history = train(network, prepared, watched, training, seed, state)
        threshold = 0.5
        if watched is not None and len(classes) == 2:
            found = probabilities(network, watched.prepared, watched.lengths, training.batch).numpy()
            threshold = choose_threshold(_scores(found), watched.labels == 1, training)
        told = None if encoder is None else encoder.hash
        return cls(config, tuple(classes), sequences.dim, threshold, told, network, history)

    def scores(self, sequences: Sequences) -> Vectors:
        """How abnormal each sequence is, float32 (n,): one less the probability of the first class.

        Raises:
            UserError: vectors of another width.
        """
        return _scores(self.probabilities(sequences))

    def probabilities(self, sequences: Sequences) -> Vectors:
        """Probabilities of the classes, float32 (n, classes).

        Raises:
            UserError: vectors of another width.
        """
        if not isinstance(self.config, ReadsTexts):
            _same_width(sequences, self.dim)
        found = np.empty((len(sequences), len(self.classes)), dtype=np.float32)
        network: Any = self.network
        for start in range(0, len(sequences), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(sequences)))
            part, _ = sequences.take(rows).trimmed(self.config.most_events)
            found[rows] = probabilities(network, network.prepare(part), part.lengths, 64).numpy()
        return found

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and description (JSON) into a folder."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in self._state().items()})
        write_atomic(folder / WEIGHTS, weights)
        document = {
            "format": _FORMAT,
            "config": self.config.dump(),
            "classes": list(self.classes),
            "dim": self.dim,
            "threshold": self.threshold,
            "encoder_hash": self.encoder_hash,
            "weights": hashlib.sha256(weights).hexdigest(),
            "history": self.history,
        }
        write_atomic(folder / HEAD, orjson.dumps(document, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, folder: Path, encoder: LogEncoder | None = None) -> "Head":
        """Open what `save` wrote; with the encoder that will make the vectors, it must be the one of the training.

        Raises:
            UserError: no head, a damaged one, or another encoder.
        """
        document, config = _read(folder)
        if encoder is not None:
            _same_encoder(document["encoder_hash"], encoder, folder)
        network = _network(config, document["dim"], len(document["classes"]), encoder)
        _fill(network, folder / WEIGHTS)
        return cls(
            config,
            tuple(document["classes"]),
            document["dim"],
            document["threshold"],
            document["encoder_hash"],
            network.eval(),
            document["history"],
        )

    def _state(self) -> dict[str, torch.Tensor]:
        return dict(self.network.state_dict())


def _network(config: HeadConfig, dim: int, classes: int, encoder: LogEncoder | None) -> Any:
    if isinstance(config, ReadsTexts):
        if encoder is None:
            raise UserError(f"the head {config.kind} trains layers of the encoder, and none was given")
        if isinstance(config, WholeConfig):
            from logfm.finetune.whole import WholeNetwork

            return WholeNetwork(config, classes, encoder)
        assert isinstance(config, LastLayerConfig)
        from logfm.finetune.lastlayer import LastLayerNetwork

        return LastLayerNetwork(config, classes, encoder)
    if not dim:
        raise UserError(f"the head {config.kind} reads vectors, and the sequences carry none")
    if isinstance(config, LstmConfig):
        from logfm.finetune.lstm import LstmNetwork

        return LstmNetwork(config, dim, classes)
    if isinstance(config, TransformerConfig):
        from logfm.finetune.transformer import TransformerNetwork

        return TransformerNetwork(config, dim, classes)
    assert isinstance(config, GnnConfig)
    from logfm.finetune.gnn import GnnNetwork

    return GnnNetwork(config, dim, classes)


def _checked(labels: Any, sequences: Sequences, classes: tuple[str, ...], what: str, least: int) -> Labels:
    """The labels as int64, if they fit the sequences and hold at least `least` classes."""
    found = np.asarray(labels).astype(np.int64)
    if found.shape != (len(sequences),):
        raise UserError(f"{len(sequences)} {what} sequences have {found.size} labels")
    if not len(found):
        raise UserError(f"there are no {what} sequences")
    if found.min() < 0 or found.max() >= len(classes):
        raise UserError("an unknown label", f"{what}: {found.min()} to {found.max()}", f"There are {len(classes)}.")
    there = np.unique(found)
    if len(there) < least:
        names = ", ".join(classes[one] for one in there)
        raise UserError(f"the {what} sequences need {least} classes and have", names, "Give others, or another split.")
    return found


def _same_width(sequences: Sequences, dim: int) -> None:
    if len(sequences) and sequences.dim != dim:
        raise UserError(f"the head reads vectors of {dim} dimensions, not {sequences.dim}", fix="Take its encoder.")


def _same_encoder(told: str | None, encoder: LogEncoder, folder: Path) -> None:
    if told is not None and encoder.hash != told:
        raise UserError(
            f"the encoder {encoder.name} is not the one that this head was trained on",
            folder,
            "Give that one with --encoder, or train the head again.",
        )


def _scores(found: Vectors) -> Vectors:
    # Summed, not subtracted from one: small probabilities keep their order.
    return found[:, 1:].sum(axis=1, dtype=np.float32)


def _read(folder: Path) -> tuple[dict[str, Any], HeadConfig]:
    path = folder / HEAD
    try:
        document = orjson.loads(path.read_bytes())
        config = TypeAdapter[HeadConfig](HeadConfig).validate_python(document["config"])
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        kinds = {"classes": list, "dim": int, "threshold": float, "history": list, "weights": str}
        if any(not isinstance(document[name], kind) for name, kind in kinds.items()) or len(document["classes"]) < 2:
            raise ValueError("a value of the wrong kind")
        document["encoder_hash"] = document["encoder_hash"] and str(document["encoder_hash"])
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("not a head (no head.json)", folder, "Give a folder that `logfm finetune` wrote.") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError("damaged head", path, "Train it again.") from error
    if not (folder / WEIGHTS).is_file() or file_hash(folder / WEIGHTS) != document["weights"]:
        raise UserError("damaged head", folder / WEIGHTS, "Train it again.")
    return document, config


def _fill(network: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
        for name, buffer in dict(network.named_buffers()).items():
            # A graph is as large as its training made it.
            if name in state and buffer.shape != state[name].shape:
                holder, _, leaf = name.rpartition(".")
                setattr(network.get_submodule(holder), leaf, torch.empty_like(state[name]))
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise UserError("damaged head", path, "Train it again.") from error
