"""Configuration of what is trained on labels: the head, where sequences and labels come from, the training."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from logfm.configs.base import Config
from logfm.configs.schema.embeddings import EncoderConfig


class LstmConfig(Config):
    """A long short-term memory over the events' vectors and the time between them (SecEncoder, 4.2.3)."""

    kind: Literal["lstm"] = "lstm"

    hidden: int = Field(default=64, ge=1)
    """Width of the projection, and of a layer in each direction."""

    layers: int = Field(default=1, ge=1, le=8)
    """Layers on top of each other."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what goes into the classification layer that is dropped in training."""

    most_events: int = Field(default=512, ge=1)
    """Events of a sequence that are read: a longer one keeps its beginning and its end."""


class TransformerConfig(Config):
    """A transformer encoder over the events' vectors (NeuralLog: Le and Zhang, ASE 2021)."""

    kind: Literal["transformer"] = "transformer"

    hidden: int = Field(default=64, ge=2)
    """Width of the layers; a multiple of `heads`, and even."""

    layers: int = Field(default=1, ge=1, le=24)
    """Transformer layers on top of each other."""

    heads: int = Field(default=4, ge=1)
    """Attention heads."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the states that is dropped in training."""

    most_events: int = Field(default=256, ge=1)
    """Events of a sequence that are read: a longer one keeps its beginning and its end."""

    @model_validator(mode="after")
    def _divides(self) -> "TransformerConfig":
        if self.hidden % self.heads or self.hidden % 2:
            raise ValueError(f"hidden ({self.hidden}) must be even and a multiple of heads ({self.heads})")
        return self


class GnnConfig(Config):
    """A graph neural network over near events: edges are the smallest Euclidean distances (SecEncoder, 4.2.3)."""

    kind: Literal["gnn"] = "gnn"

    hidden: int = Field(default=64, ge=1)
    """Width of a graph convolution."""

    layers: int = Field(default=2, ge=1, le=8)
    """Graph convolutions on top of each other."""

    edge_share: float = Field(default=0.01, gt=0, le=1)
    """Share of all pairs of different training vectors, the nearest ones, that are joined by an edge. The longest of
    these edges tells how near a new event has to lie to be joined."""

    nodes: int = Field(default=2_048, ge=2)
    """Different vectors of training events that make up the graph, drawn where there are more."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the states that is dropped in training."""

    most_events: int = Field(default=512, ge=1)
    """Events of a sequence that are read: a longer one keeps its beginning and its end."""


class LastLayerConfig(Config):
    """The encoder's last layer and a classification layer over the concatenated events (SecEncoder, 4.2.3, Table 6)."""

    kind: Literal["lastlayer"] = "lastlayer"

    most_events: int = Field(default=32, ge=1)
    """Events of a sequence that are read, which the width of the classification layer grows with: a longer one keeps
    its beginning and its end, a shorter one is filled with zeros."""

    encoder_rate: float = Field(default=0.05, ge=0)
    """Learning rate of the encoder's layer as a multiple of the classification layer's; 0 leaves it as it is."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what goes into the classification layer that is dropped in training."""

    memory_bytes: int = Field(default=1 << 30, ge=0)
    """What goes into the last layer is computed once and held in memory up to this size, beyond it on disk (bytes)."""


class WholeConfig(Config):
    """A classifier that is fine-tuned whole, as RoBERTa is (Liu et al., 2019): all layers learn, on one text."""

    kind: Literal["whole"] = "whole"

    most_events: int = Field(default=32, ge=1)
    """Events of a sequence that make its text, a line each: a longer one keeps its beginning and its end."""

    most_tokens: int = Field(default=512, ge=3)
    """Tokens of that text that are read, if the encoder reads as many at once; the rest of it is left out."""

    encoder_rate: float = Field(default=0.05, gt=0)
    """Learning rate of the encoder's layers as a multiple of the classification layer's."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what goes into the classification layer that is dropped in training."""


HeadConfig = Annotated[
    LstmConfig | TransformerConfig | GnnConfig | LastLayerConfig | WholeConfig, Field(discriminator="kind")
]
ReadsTexts = (LastLayerConfig, WholeConfig)
"""Heads that read the events' texts and train layers of the encoder."""


class TrainingConfig(Config):
    """The training loop that all heads share."""

    epochs: int = Field(default=40, ge=1)
    """Passes over the training sequences at most."""

    batch: int = Field(default=32, ge=1)
    """Sequences of an optimizer step."""

    learning_rate: float = Field(default=2e-3, gt=0)
    """AdamW's rate."""

    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's weight decay."""

    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    patience: int = Field(default=6, ge=1)
    """Epochs without a better validation score after which the training ends; the best epoch is kept."""

    monitor: Literal["pr_auc", "loss"] = "pr_auc"
    """The validation score: area under the precision-recall curve (over classes their mean), the loss at equality; or
    the loss alone."""

    class_weights: Literal["balanced", "none"] = "balanced"
    """Whether a class counts as much as another in the loss, however rare it is."""

    threshold: Literal["max_f1", "false_positive_rate"] = "max_f1"
    """What the threshold is chosen by, on validation: the highest F1, or `false_positive_rate`."""

    false_positive_rate: float = Field(default=0.01, ge=0, lt=1)
    """Share of the normal validation sequences that may lie above the threshold under the rule of this name."""


class SequenceConfig(Config):
    """How events become sequences; the same rule holds when the head is used."""

    group: tuple[str, ...] = ("host",)
    """Columns of an event whose values it shares with its sequence: host, process, user, session_id, source, file, ...
    None puts all events in one group."""

    pattern: str | None = None
    """Instead: a regular expression searched in the text. Its first group, or the whole match, names the sequence
    (`blk_-?\\d+`); events where it does not match are left out."""

    gap: float | None = Field(default=None, gt=0)
    """Pause after which the next sequence begins (seconds); null for none."""

    events: int = Field(default=128, ge=1)
    """Events of a sequence at most: longer ones are cut into consecutive ones. 1 classifies single events."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from None
        return pattern


class SplitConfig(Config):
    """What tells training, validation and test apart where one input serves for several."""

    by: str = "time"
    """"time": training ends before validation begins, and that before test; "group": a sequence's group lies in one of
    them; or a column, such as host, whose values each lie in one of them."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of training, validation and test, which sum to one: of the events by time, else of the groups."""

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
            raise ValueError("three positive shares that sum to one")
        return shares


class GroupLabelsConfig(Config):
    """A table of labels of whole groups, such as HDFS blocks."""

    path: Path
    """CSV or Parquet."""

    group: str
    """Column that holds the group's name, as `data.sequence` makes it."""

    label: str
    """Column that holds the label."""


class FinetuneDataConfig(Config):
    """Where sequences and their labels come from."""

    train: tuple[str, ...] = Field(min_length=1)
    """INPUT to learn from: files, folders, globs, a corpus. Where there is no `validation` or `test`, part of it is
    taken for them, by `split`."""

    validation: tuple[str, ...] = ()
    """INPUT that early stopping and the threshold look at."""

    test: tuple[str, ...] = ()
    """INPUT that the finished head is measured on."""

    labels: Path | None = None
    """A table of the labels of the events of `train`, Parquet or CSV: `event_id` or (`file`, `offset`), and `label`. By
    default each event's own label counts."""

    validation_labels: Path | None = None
    """Such a table for the INPUT `validation`."""

    test_labels: Path | None = None
    """Such a table for the INPUT `test`."""

    group_labels: GroupLabelsConfig | None = None
    """Labels of whole groups, instead."""

    target: Literal["binary", "classes"] = "binary"
    """binary tells normal sequences from those that hold an attack event; classes tells all labels apart (that of most
    of a sequence's attack events)."""

    sequence: SequenceConfig = SequenceConfig()
    split: SplitConfig = SplitConfig()

    licences: tuple[str, ...] = ()
    """Licences of the data; they travel with the head."""

    @field_validator("train", "validation", "test", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> "FinetuneDataConfig":
        if self.labels is not None and self.group_labels is not None:
            raise ValueError("labels and group_labels exclude each other")
        for name in ("validation", "test"):
            if getattr(self, f"{name}_labels") is not None and not getattr(self, name):
                raise ValueError(f"{name}_labels needs an INPUT {name}")
        return self


class FinetuneConfig(Config):
    """A head, trained on labels over a frozen encoder."""

    encoder: str
    """URI of the encoder: a folder, st:NAME, hf:NAME, tfidf (fitted on the training texts), ..."""

    data: FinetuneDataConfig
    """Sequences and labels."""

    out: Path
    """Folder to write."""

    head: HeadConfig = LstmConfig()
    """What is trained."""

    training: TrainingConfig = TrainingConfig()
    encoding: EncoderConfig = EncoderConfig()

    seed: int = Field(default=0, ge=0)
    """Seed of weights, order and splits."""
