"""The finetune stage: labelled events and a frozen encoder in, a head folder out."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from logfm.artifacts import Manifest, file_hash, finished, partial_folder, produce, read_manifest, stage_key
from logfm.configs.schema.finetune import FinetuneConfig, ReadsTexts
from logfm.console import say
from logfm.embeddings.embed import check_place, input_hashes
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.extras import require
from logfm.finetune.data import LabelledData, encode, labelled
from logfm.finetune.heads import Head
from logfm.finetune.judging import measures
from logfm.finetune.sequences import Vectors
from logfm.finetune.splitting import SPLITS
from logfm.finetune.stems import stem

STAGE = "finetune"
ENCODER = "encoder"
"""Folder of a fitted tfidf inside the head's."""
_STATE, _VECTORS = "training.ckpt", "vectors.npy"


def finetune(config: FinetuneConfig) -> Manifest:
    """Train a head and write it with its figures; a finished `out` is left as it is, a killed run goes on.

    The folder holds `head.json` and `head.safetensors` (see `Head.save`), tfidf as it was fitted, and a manifest whose
    metrics are those of validation and test, beside those of logistic regression on mean vectors.

    Raises:
        UserError: a mistake in the data (see `labelled`) or the training, another encoder than the head can use, or
            `out` is taken.
    """
    inputs = (*config.data.train, *config.data.validation, *config.data.test)
    check_place(config.out, inputs)
    encoder = LogEncoder.load(config.encoder, config.encoding)
    if isinstance(config.head, ReadsTexts):
        stem(encoder)  # another encoder is refused before anything is read
    # Where the folder lies is no part of what is in it.
    document = config.dump() | {"out": None}
    hashes = _hashes(config, encoder)
    if done := finished(config.out, stage_key(STAGE, document, config.seed, hashes)):
        return done
    data = labelled(config.data, config.seed)
    _tell(data)
    encoder.fit(data.train_texts)
    with produce(config.out, stage=STAGE, config=document, inputs=hashes, seed=config.seed, resumable=True) as work:
        work.licences.update(config.data.licences)
        try:
            work.metrics.update(_train(config, data, encoder, work.path))
        except UserError:
            # The same command would fail again, and another must not find this in its way.
            shutil.rmtree(partial_folder(config.out), ignore_errors=True)
            raise
        for name in (_STATE, _VECTORS):
            (work.path / name).unlink(missing_ok=True)
    return read_manifest(config.out, STAGE)


def _train(config: FinetuneConfig, data: LabelledData, encoder: LogEncoder, folder: Path) -> dict[str, Any]:
    kept = None if encoder.name == "tfidf" else folder / _VECTORS
    vectors = encode(encoder, data.table["text"].to_pylist(), kept)
    # Who trains layers reads texts; the plainest model beside it has the vectors of the encoder as it was.
    read = None if isinstance(config.head, ReadsTexts) else vectors
    sequences = {name: data.sequences(name, read) for name in SPLITS}
    labels = {name: data.parts[name].labels for name in SPLITS}
    head = Head.fit(
        config.head,
        sequences["train"],
        labels["train"],
        (sequences["validation"], labels["validation"]),
        training=config.training,
        classes=data.classes,
        encoder=encoder,
        seed=config.seed,
        state=folder / _STATE,
    )
    head.save(folder)
    if encoder.name == "tfidf":
        save: Any = encoder.backend
        save.save(folder / ENCODER)
    found: dict[str, Any] = {"left_out": data.left_out, "epochs": len(head.history), "threshold": head.threshold}
    found["encoder"] = {"name": encoder.name, "hash": encoder.hash, "backend": encoder.config.backend}
    for name in SPLITS:
        found[name] = measures(head.probabilities(sequences[name]), labels[name], head.threshold, data.classes)
        found[name]["cut"] = sequences[name].trimmed(config.head.most_events)[1]
    means = {name: _means(vectors, data.parts[name].cuts.rows) for name in SPLITS}
    found["logistic_regression"] = _baseline(means, labels, data.classes, config)
    return found


def _baseline(
    means: dict[str, Vectors], labels: dict[str, Any], classes: tuple[str, ...], config: FinetuneConfig
) -> dict[str, Any]:
    """What the plainest model reaches on the same vectors: logistic regression on their mean, with the same rule for
    the threshold.
    """
    from logfm.finetune.judging import choose_threshold

    require("sklearn", "embed")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    weights = "balanced" if config.training.class_weights == "balanced" else None
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight=weights))
    model.fit(means["train"], labels["train"])
    found = {name: model.predict_proba(means[name]) for name in ("validation", "test")}
    threshold = 0.5
    if len(classes) == 2:
        threshold = choose_threshold(found["validation"][:, 1], labels["validation"] == 1, config.training)
    return {name: measures(one, labels[name], threshold, classes) for name, one in found.items()}


def _means(vectors: Vectors, sequences: Iterable[Any]) -> Vectors:
    return np.stack([vectors[rows].mean(axis=0) for rows in sequences])


def _hashes(config: FinetuneConfig, encoder: LogEncoder) -> dict[str, str]:
    data = config.data
    hashes = {"encoder": "tfidf" if encoder.needs_fit else encoder.hash}
    for name in SPLITS:
        given = getattr(data, name)
        if given:
            hashes |= {f"{name} {path}": found for path, found in input_hashes(given).items()}
    groups = None if data.group_labels is None else data.group_labels.path
    named = {"": data.labels or groups, "validation ": data.validation_labels, "test ": data.test_labels}
    for name, path in named.items():
        if path is not None:
            if not path.is_file():
                raise UserError("no such file", path)
            hashes[f"{name}labels"] = file_hash(path)
    return hashes


def _tell(data: LabelledData) -> None:
    for name in SPLITS:
        labels = data.parts[name].labels
        counts = np.bincount(labels, minlength=len(data.classes))
        shown = ", ".join(f"{count} {label}" for label, count in zip(data.classes, counts, strict=True))
        say(f"{name}: {len(labels)} sequences ({shown})")
    for why, count in data.left_out.items():
        say(f"left out: {count} {why}")
