"""What a task, a data set and a contestant are to each other.

A task is a module of `evaluation.tasks` with `META` (TaskMeta) and `run`:

    def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]

It sees one contestant and one data set at a time and yields one measurement a metric. `options` are those of the
suite over the task's caps. Everything it fits, it fits on `data.train`; draws depend on the seed, the data set and the
task alone, never on the contestant, so that replicates of two contestants are paired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.suite import DataSpec, TaskMeta
from logfm.evaluation.stats import Estimate, Floats
from logfm.evaluation.vectors import Matrix

if TYPE_CHECKING:
    from logfm.embeddings.encoder import LogEncoder

Rows = NDArray[np.int64]
NO_REPLICATES: Floats = np.empty(0)
UNSEEN = "unseen templates"
"""Condition of what is left without templates that a contestant was trained on."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One figure of one task for one contestant on one data set.

    `replicates` is float64 (resamples,) or empty; those of two contestants at equal (task, data, split, condition,
    metric, seed) are paired. `condition` tells variants of one task apart (a head, a prevalence, a length).
    """

    metric: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    count: int = 0
    """Items (queries, pairs, test sequences) behind the figure."""
    split: str = "test"
    condition: str = ""
    note: str = ""
    replicates: Floats = field(default_factory=lambda: NO_REPLICATES)
    hits: NDArray[np.bool_] | None = None
    """Whether each item was hit, in an order that contestants share: McNemar's test where there are no replicates."""
    clusters: int = 0
    """Templates, blocks or scenarios that the interval rests on; 0 where there is none."""
    judged: str = ""
    """Hash of the items, where they are not all of the data set's: figures of other items are not compared."""

    @classmethod
    def of(cls, metric: str, estimate: Estimate, count: int, **more: Any) -> "Measurement":
        """A measurement with its bootstrap interval and replicates."""
        bounds = (estimate.value, estimate.low, estimate.high)
        return cls(metric, *bounds, count, replicates=estimate.replicates, clusters=estimate.clusters, **more)


@dataclass(frozen=True, eq=False)
class Data:
    """One data set in memory: what encoders may see (`texts`) and what only metrics may.

    All columns have one entry an event, in file order. Columns that a data set lacks are None.
    """

    spec: DataSpec
    hash: str
    """Hash of the files and the spec."""
    texts: list[str]
    """Raw lines, label-bearing fields stripped (`spec.drop`)."""
    templates: list[str] | None = None
    """The EventId given, else Drain's on the message behind the header."""
    labels: NDArray[np.int8] | None = None
    """1 for anomalous, malicious or to be alerted on, 0 for normal."""
    groups: list[str] | None = None
    """The entity that sequences and splits go by: block, session, container, scenario."""
    times: NDArray[np.float64] | None = None
    """Seconds since the epoch (UTC); nan where unknown."""
    sources: list[str] | None = None
    """Product or system of each event."""
    records: list[dict[str, Any]] | None = None
    """Structured fields, without labels."""
    queries: list[str] | None = None
    """Plain-English description of each event ("" where there is none)."""
    classes: list[str] | None = None
    """Phase, rule or type behind a label, for figures apart."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Events that were not read, by reason."""
    seen: NDArray[np.bool_] | None = None
    """Events of a template that any contestant was trained on; None where there are none, or nobody knows."""
    folder: Path | None = None
    """The data folder, for what lies in it beside the events: detection rules."""


class Contestant(Protocol):
    """One encoder in the suite."""

    @property
    def name(self) -> str:
        """Shown in tables; unique in a run."""

    @property
    def hash(self) -> str:
        """Tells equal encoders; part of the cache's key."""

    @property
    def pretrained(self) -> "LogEncoder | None":
        """The encoder of ours behind it, for what needs token likelihoods; None for others."""

    @property
    def layered(self) -> "LogEncoder | None":
        """The encoder behind it, if its last layer can be trained; None for others."""

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()) -> Matrix:
        """Vectors (n, dim), float32 or sparse. What must be fitted (TF-IDF) is fitted on `fit_on` alone."""


class Task(Protocol):
    """A module of `evaluation.tasks`."""

    META: TaskMeta

    def run(self, contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
        """Measure; see the module's docstring."""
