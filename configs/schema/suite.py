"""Configuration of the evaluation suite: a data set, a task's metadata, a suite."""

from typing import Literal

from pydantic import Field, model_validator

from logfm.configs.base import Config

Direction = Literal["higher", "lower", "neither"]
Role = Literal["choices", "results"]


class DataSpec(Config):
    """One data set that tasks can run on; a file `configs/evaluation/data/NAME.yaml`, or one of a user's own."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Name in results, and of the file."""
    title: str
    """What it is, in a line."""
    source: str
    """Who published it, and where."""
    licence: str
    """As its origin states it."""
    role: Role = "results"
    """`choices`: choices of ours may look at its scores. `results`: reported, never looked at to choose."""
    tasks: tuple[str, ...]
    """Names of the tasks that run on it."""
    path: str
    """File or glob below the data folder (`--data`), or `simulated:` and a seed."""
    reader: str = "lines"
    """How it is read: a name of `evaluation.data.readers`."""
    options: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)
    """What the reader wants to know: names of columns, values that mean an anomaly."""
    drop: tuple[str, ...] = ()
    """Fields or column names that carry the label: taken out of every text before an encoder sees it."""
    split: str
    """How train, validation and test are told apart (chronological, by entity, by file), in a sentence."""
    leakage: str
    """What could leak, and what is done about it."""
    apart: bool = False
    """It has a board of its own, and no part in a task's mean: its events stand in other data sets, too, or it holds so
    few entities that no mean with it could tell contestants apart."""
    cap: Literal["head", "random", "groups"] = "random"
    """Which events are kept where there are more than wanted: the first, a random draw, or whole groups."""
    most_rows: int | None = Field(None, gt=0)
    """Events read at most where a suite caps; None for all."""


class TaskMeta(Config):
    """What a task says about itself; every field is shown in `logfm eval list` and the report."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name in suites and results."""
    title: str
    """What is asked, in a line."""
    paper: str
    """The table or section that it follows."""
    split: str
    """The rule that tells train from test."""
    leakage: str
    """What must not reach an encoder or head, and how that is held."""
    main_score: str
    """The metric that leads; a key of `metrics`."""
    metrics: dict[str, Direction]
    """Every metric it yields, and which way is better (`neither`: it is shown, and nobody is compared on it)."""
    minutes: float = Field(gt=0)
    """Wall clock for three encoders on two cores at the caps of `local`."""
    caps: dict[str, int] = Field(default_factory=dict)
    """What is capped in `local`, in rows, pairs or queries."""
    pretrained: bool = False
    """Needs a masked language model; other encoders are marked as not applicable."""
    version: int = Field(1, ge=1)
    """Goes up when a correction changes scores: scores of different versions are not compared."""
    timed: bool = False
    """Measures time: its contestants encode anew what was encoded before."""
    by_event: bool = False
    """Its items are single events: it is run once more on those whose templates no encoder of a run was trained on."""
    lead: str = ""
    """The condition that the leaderboard looks at; the mean over all conditions where a task never yields it."""


class SuiteSpec(Config):
    """A suite: which tasks, on which data sets, how far; a file `configs/evaluation/suites/NAME.yaml`."""

    name: str
    """Name for `logfm eval run`."""
    title: str
    """What it is for, in a line."""
    tasks: dict[str, dict[str, object]]
    """Task names, each with its options (its caps, for one); `{}` for the defaults. `seeds` (at most the suite's) and
    `baselines` (of the suite's) among them stand for the suite's own."""
    data: tuple[str, ...] | None = None
    """Names of data sets; None for all that fit the tasks and are at hand."""
    seeds: int = Field(5, ge=1)
    """Evaluation seeds: splits, pairs, heads."""
    baselines: tuple[str, ...] = ("tfidf", "random")
    """Encoder URIs that are added to every run."""
    capped: bool = True
    """Whether tasks keep to their caps."""

    @model_validator(mode="after")
    def _settings(self) -> "SuiteSpec":
        for name, options in self.tasks.items():
            seeds, baselines = options.get("seeds", 1), options.get("baselines", [])
            if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
                raise ValueError(f"{name}: seeds is a number of at least 1, not {seeds!r}")
            if not isinstance(baselines, list | tuple):
                raise ValueError(f"{name}: baselines is a list, not {baselines!r}")
            unknown = [one for one in baselines if one not in self.baselines]
            if unknown:
                raise ValueError(f"{name}: {unknown[0]!r} is none of the suite's baselines")
        return self
