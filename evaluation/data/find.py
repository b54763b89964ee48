"""Which data sets there are, and which of them are at hand."""

import difflib
import os
from functools import lru_cache
from pathlib import Path

from logfm.configs.base import RECIPES, parse, read_yaml
from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError
from logfm.evaluation.data.rows import Place, listed

VARIABLE = "LOGFM_DATA"
SIMULATED, MIXED = "simulated:", "mixed:"


@lru_cache(maxsize=1)
def specs() -> dict[str, DataSpec]:
    """The specs that ship, by name, sorted."""
    folder = RECIPES / "evaluation" / "data"
    found = [parse(DataSpec, read_yaml(path), path) for path in sorted(folder.glob("*.yaml"))]
    return {one.name: one for one in found}


def spec_of(name: str | Path) -> DataSpec:
    """The spec of that name, or one of a user's own by the path of its YAML file.

    Raises:
        UserError: there is none, or it is not valid.
    """
    if str(name) in specs():
        return specs()[str(name)]
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return parse(DataSpec, read_yaml(path), path)
    close = difflib.get_close_matches(str(name), specs(), n=1)
    raise UserError("no such data set", name, f"Did you mean {close[0]}?" if close else "See: logfm eval list")


def data_folder(given: str | Path | None = None) -> Path | None:
    """The data folder: the given one, else that of `LOGFM_DATA`, else None.

    Raises:
        UserError: it is no folder.
    """
    named = str(given) if given is not None else os.environ.get(VARIABLE, "")
    if not named:
        return None
    if not Path(named).is_dir():
        raise UserError("no such data folder", named, f"Give --data DIR, or set {VARIABLE}.")
    return Path(named)


def place_of(spec: DataSpec, folder: Path | None, most: int | None = None) -> Place | None:
    """Where a data set lies; None where it is not at hand, or less than two parts of a mixture are."""
    if spec.path.startswith(SIMULATED):
        return Place(Path(), [], [], most, set())
    if spec.path.startswith(MIXED):
        return Place(folder or Path(), [], [], most, set()) if len(parts_of(spec, folder)) > 1 else None
    if folder is None:
        return None
    files = _matching(folder, spec.path)
    beside = [path for pattern in listed(spec, "beside") for path in _matching(folder, pattern)]
    if not files or (listed(spec, "beside") and not beside):
        return None
    return Place(folder, files, beside, most, set())


def parts_of(spec: DataSpec, folder: Path | None) -> list[DataSpec]:
    """The parts of a mixture that are at hand."""
    return [part for part in map(spec_of, listed(spec, "parts")) if place_of(part, folder) is not None]


def at_hand(folder: Path | None) -> dict[str, DataSpec]:
    """The shipped data sets that lie below the folder, and those that need none."""
    return {name: spec for name, spec in specs().items() if place_of(spec, folder) is not None}


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Files below the folder; a pattern that leads out of it matches nothing."""
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UserError("a data set's path must lie below the data folder", pattern)
    return sorted(path for path in folder.glob(pattern) if path.is_file())
