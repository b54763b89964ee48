"""What the suite knows: tasks (modules of `evaluation.tasks`), data sets and suites (YAML)."""

import difflib
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar, cast

from logfm.artifacts import digest, file_hash
from logfm.configs.base import RECIPES, Config, load
from logfm.configs.schema.suite import DataSpec, SuiteSpec
from logfm.errors import UserError
from logfm.evaluation.suite.codes import measuring
from logfm.evaluation.suite.task import Data, Task

_DATA, _SUITES = RECIPES / "evaluation" / "data", RECIPES / "evaluation" / "suites"
_ROOM = "logfm.evaluation."
Known = TypeVar("Known")
RESERVED = ("seeds", "baselines")
"""Options of a task that stand for the suite's own."""


class Load(Protocol):
    """How a data set is read: `evaluation.data.load.load`."""

    def __call__(self, spec: DataSpec, folder: Path | None, rows: int | None) -> Data:
        """The data set of `spec` below `folder`, of at most `rows` events.

        Raises:
            UserError: it is not there, or not what the specification says.
        """


@dataclass(frozen=True)
class Registry:
    """Tasks, data sets and suites by name; `load` reads a data set."""

    tasks: Mapping[str, Task]
    data: Mapping[str, DataSpec]
    suites: Mapping[str, SuiteSpec]
    load: Load
    codes: Mapping[str, str] = field(default_factory=dict)
    """Hash of each task's source: part of a cell's key."""
    own: tuple[str, ...] = ()
    """Names of the user's own data sets, which belong to every suite whose tasks they fit."""

    def suite(self, name: str) -> SuiteSpec:
        """A suite by its name, or by the path of a YAML file; its tasks and data sets are known.

        Raises:
            UserError: there is none of that name, or it names a task or data set that there is not.
        """
        own = name not in self.suites and name.endswith(".yaml") and Path(name).is_file()
        suite = load(SuiteSpec, name) if own else pick(self.suites, name, "suite")
        for task, options in suite.tasks.items():
            module: Any = pick(self.tasks, task, "task")
            # A misspelt cap must not pass for one that is kept.
            taken = {*module.META.caps, *getattr(module, "OPTIONS", Config).model_fields, *RESERVED}
            for option in options:
                pick(dict.fromkeys(taken), option, f"option of the task {task}")
        for one in suite.data or ():
            pick(self.data, one, "data set")
        return suite

    def runs_on(self, task: str, suite: SuiteSpec) -> list[DataSpec]:
        """The data sets of a suite for a task, in the suite's order."""
        return [self.data[name] for name in self.names(suite) if task in self.data[name].tasks]

    def names(self, suite: SuiteSpec) -> list[str]:
        """The data sets of a suite, the user's own last."""
        return list(self.data) if suite.data is None else list(dict.fromkeys((*suite.data, *self.own)))


def registry(own_data: Sequence[Path] = ()) -> Registry:
    """What ships, and the data sets of `own_data` (folders with YAML files), which must have names of their own.

    Raises:
        UserError: a broken file, a folder that is missing, one name twice, or a task that there is not.
    """
    tasks, codes = _tasks()
    data = _named(DataSpec, [_DATA, *own_data])
    for path in (path for folder in (_DATA, *own_data) for path in sorted(folder.glob("*.yaml"))):
        _check_tasks(data[path.stem], path, tasks)
    own = tuple(name for name in data if name not in _named(DataSpec, [_DATA])) if own_data else ()
    return Registry(tasks, data, _named(SuiteSpec, [_SUITES]), _load, codes, own)


def pick(known: Mapping[str, Known], name: str, kind: str) -> Known:
    """The entry of that name.

    Raises:
        UserError: there is none; the closest name is told.
    """
    if name in known:
        return known[name]
    raise UserError(f"unknown {kind}", name, _hint(name, known))


def _check_tasks(spec: DataSpec, path: Path, tasks: Mapping[str, Task]) -> None:
    """A misspelt task would never run on the data set, and nobody would be told."""
    for name in spec.tasks:
        if name not in tasks:
            raise UserError(f"unknown task {name}", path, _hint(name, tasks))


def _hint(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names) or 'none'}."


def _tasks() -> tuple[dict[str, Task], dict[str, str]]:
    package = import_module("logfm.evaluation.tasks")
    tasks: dict[str, Task] = {}
    codes: dict[str, str] = {}
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        module: Any = import_module(f"{package.__name__}.{found.name}")
        if hasattr(module, "META") and hasattr(module, "run"):
            tasks[module.META.name] = cast("Task", module)
            codes[module.META.name] = _code_hash(module)
    return tasks, codes


def _code_hash(module: ModuleType) -> str:
    """Hash of the version, of a task's source, of what it imports from this room, and of the rooms whose heads and
    encoders it calls: changes there can change scores.
    """
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if one.__name__ in sources or one.__file__ is None:
            continue
        sources[one.__name__] = file_hash(Path(one.__file__))
        names = {
            str(getattr(value, "__module__", None) or getattr(value, "__name__", "")) for value in vars(one).values()
        }
        waiting += [sys.modules[name] for name in names if name.startswith(_ROOM) and name in sys.modules]
    return digest(sources | measuring())


def _named(kind: type[Any], folders: Sequence[Path]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError("no such folder of data set specifications", folder)
        for path in sorted(folder.glob("*.yaml")):
            spec = load(kind, path)
            if spec.name != path.stem or spec.name in found:
                why = "is taken" if spec.name in found else "is not the file's"
                raise UserError(f"the name {spec.name} {why}", path)
            found[spec.name] = spec
    return found


def _load(spec: DataSpec, folder: Path | None, rows: int | None) -> Data:
    from logfm.evaluation.data.load import load as load_data

    return load_data(spec, folder, rows)
