"""Configuration of the anomaly tasks: what a sequence is, how parts are told apart, heads and detectors."""

from typing import Literal

from pydantic import Field, model_validator

from logfm.configs.base import Config


class UnitConfig(Config):
    """What a data set says about its sequences; keys of `DataSpec.options`."""

    unit: Literal["auto", "group", "window", "count", "event"] = "auto"
    """What is judged: a group's events, a window of time, a window of consecutive events, or an event. `auto` takes
    groups where they hold two events or more in the mean, else events."""
    window_seconds: float = Field(300.0, gt=0)
    """Length of a window of time (seconds)."""
    window_events: int = Field(20, ge=1)
    """Events of a window of consecutive events."""
    split_by: Literal["auto", "time", "entity", "first", "source"] = "auto"
    """What tells train from test: time; whole entities, drawn; whole entities in the order of their first events; or
    whole sources, drawn. `auto` draws entities where there are three groups or more, else it takes time."""
    entity: Literal["whole", "slash"] = "whole"
    """The entity behind a group: its whole name, or what stands before the first slash."""
    domain: Literal["sources", "groups"] = "sources"
    """What the task `transfer` trains on one of and tests on another."""
    rules: str | None = None
    """Folder or archive of Sigma rules for these events, below the data folder."""


class SplitConfig(Config):
    """Shares of the parts; what is left is the test."""

    train: float = Field(0.4, gt=0, lt=1)
    """Share of the entities, or of the events in order of time."""
    validation: float = Field(0.2, gt=0, lt=1)
    """Share for thresholds and choices."""

    @model_validator(mode="after")
    def _leave_a_test(self) -> "SplitConfig":
        if self.train + self.validation >= 1:
            raise ValueError("train and validation leave nothing for the test")
        return self


class TaskOptions(Config):
    """What every anomaly task can be told."""

    split: SplitConfig = SplitConfig()
    """Shares of the parts."""
    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples, of whole groups or blocks of windows."""
    fit_events: int | None = Field(None, ge=2)
    """Train events that a detector over events is fitted on at most, drawn at random; None for all."""


class BaselineOptions(TaskOptions):
    """What a task can be told that shows detectors without an encoder beside its heads."""

    baselines: bool = True
    """Whether what needs no encoder is measured too."""
    rules: str | None = None
    """Folder or archive of Sigma rules, instead of what the data set's option `rules` names below the data folder;
    without either that baseline is left out."""


class AnomalyOptions(BaselineOptions):
    """Unsupervised detection."""

    heads: tuple[str, ...] = ("nearest", "iforest", "ecod", "pca", "conad", "lanobert", "logbert")
    """Heads of `logfm detect`. `NAME:normal` is fitted on train's normal sequences, `NAME:all` on train as it is."""
    lanobert_texts: int | None = Field(None, ge=1)
    """Above so many different texts, lanobert judges one text of each value-masked template, and is left out where
    these are more, too; None for never."""
    conad_sequences: int | None = Field(None, ge=2)
    """Sequences above which conad is left out; None for never."""
    logbert_steps: int | None = Field(None, ge=1)
    """Optimizer steps of logbert; None for its own."""


class SupervisedOptions(BaselineOptions):
    """Heads that are trained on labels, over frozen vectors."""

    heads: tuple[str, ...] = ("logistic", "lstm", "gnn", "transformer")
    """`logistic` is a logistic regression on mean vectors; the others are heads of `logfm finetune`."""
    epochs: int | None = Field(None, ge=1)
    """Epochs at most; None for the head's own."""
    sequences: int | None = Field(None, ge=10)
    """Train sequences at most, drawn at random; None for all."""
    events: int | None = Field(None, ge=1)
    """Events of a sequence that a head reads at most, of longer ones the beginning and the end; None for the head's
    own, and for all of them in `logistic`."""


class LastlayerOptions(BaselineOptions):
    """Fine-tuning of the last layer."""

    epochs: int | None = Field(None, ge=1)
    """Epochs at most; None for the head's own."""
    sequences: int | None = Field(None, ge=10)
    """Train sequences at most, drawn at random; None for all."""
    events: int | None = Field(None, ge=1)
    """Events of a sequence that the head and the logistic regression read at most, of longer ones the beginning and
    the end; None for the head's own."""


class PrevalenceOptions(AnomalyOptions):
    """Test sets of one size, from no attack to nothing else."""

    percents: tuple[int, ...] = (0, 1, 2, 5, 20, 40, 60, 80, 100)
    """Shares of attacks (percent)."""
    size: int = Field(10_000, ge=10)
    """Sequences of a test set; fewer where the pools of attacks or normal sequences are smaller."""
    train_percent: float | None = Field(2.0, gt=0, lt=100)
    """Attacks in what the classifiers are trained on (percent): the natural 2 % of LogAtlas. None for the data's."""
    heads: tuple[str, ...] = ("nearest", "iforest", "logbert", "logistic", "lastlayer", "whole")
    """Heads of `logfm detect`, and the classifiers `logistic`, `lastlayer` and `whole`."""
    epochs: int | None = Field(None, ge=1)
    """Epochs of `lastlayer` and `whole` at most."""
    events: int | None = Field(None, ge=1)
    """Events of a sequence that the classifiers read at most, of longer ones the beginning and the end; None for
    `lastlayer`'s own."""
    sequences: int | None = Field(None, ge=10)
    """Train and validation sequences of `lastlayer` and `whole` at most, drawn at random; None for all. Validation
    chooses the leading detector by these."""
    tokens: int | None = Field(None, ge=3)
    """Tokens of a sequence that `whole` reads at most; None for its own."""


class TransferOptions(AnomalyOptions):
    """Train on one source or period, test on another."""

    pairs: tuple[str, ...] = ()
    """`TRAIN>TEST` names of sources; empty for all ordered pairs up to `most_pairs`."""
    most_pairs: int | None = Field(None, ge=1)
    """Pairs at most where none are named; None for all."""
    periods: int = Field(4, ge=2)
    """Periods of equally many events that the data of one source is cut into; the first is trained on."""
    heads: tuple[str, ...] = ("nearest", "logistic")
    """Heads of `logfm detect`, and the classifier `logistic`."""


class LeakyOptions(TaskOptions):
    """A leaky split beside an honest one."""

    window: int = Field(5, ge=2)
    """Events of a window."""
    stride: int = Field(1, ge=1)
    """Events between the starts of two windows; less than `window` makes them overlap."""
    windows: int | None = Field(None, ge=20)
    """Windows at most, whole groups drawn at random; None for all."""
