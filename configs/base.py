"""One configuration system: frozen pydantic models, YAML files, `--set a.b=c`; a typo fails at once."""

import difflib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from logfm.errors import UserError

RECIPES = Path(__file__).parent


class Config(BaseModel):
    """Base of every configuration: immutable, unknown keys refused, field docstrings state units."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def dump(self) -> dict[str, Any]:
        """The resolved configuration as JSON-serialisable values, for manifests."""
        return self.model_dump(mode="json")


ConfigT = TypeVar("ConfigT", bound=Config)


def load(kind: type[ConfigT], source: str | Path, overrides: Sequence[str] = ()) -> ConfigT:
    """Read a YAML file, or a recipe that ships (by its name, as `logfm configs list` shows it).

    `overrides` are `a.b=value` strings; values are parsed as YAML.

    Raises:
        UserError: no such file or recipe, broken YAML, an unknown key or a value of the wrong type.
    """
    path = find(source)
    document = read_yaml(path)
    for override in overrides:
        _apply(document, override)
    return parse(kind, document, path)


def parse(kind: type[ConfigT], document: Any, where: object) -> ConfigT:
    """Validate a document against a configuration class, with a one-line error.

    Raises:
        UserError: an unknown key or a value of the wrong type.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise UserError(_explain(kind, error), where) from None


def find(source: str | Path) -> Path:
    """The path of a configuration file, or of the recipe of that name.

    Raises:
        UserError: neither exists.
    """
    path = Path(source)
    if path.is_file():
        return path
    known = recipes()
    if str(source) in known:
        return known[str(source)]
    close = difflib.get_close_matches(str(source), known, n=1)
    hint = f"Did you mean {close[0]}?" if close else "See: logfm configs list"
    raise UserError("no such configuration file or recipe", source, hint)


def recipes() -> dict[str, Path]:
    """The YAML recipes that ship, by name (`pretrain/nano`)."""
    paths = sorted(RECIPES.rglob("*.yaml"))
    return {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in paths}


def scripts() -> dict[str, Path]:
    """The batch scripts that ship, by name (`slurm/pretrain.sh`)."""
    return {path.relative_to(RECIPES).as_posix(): path for path in sorted(RECIPES.rglob("*.sh"))}


def copy(name: str, out: Path) -> Path:
    """Copy a recipe or a script to `out` (a file or a folder) for editing; nothing is overwritten.

    Raises:
        UserError: unknown recipe, or the file exists.
    """
    source = scripts().get(name) or find(name)
    target = out / source.name if out.is_dir() else out
    if target.exists():
        raise UserError("the file exists", target, "Choose another --out.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        UserError: unreadable, not YAML, or not a mapping.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError("cannot read the configuration", path, reason) from error
    if not isinstance(document, dict):
        raise UserError("a configuration is a mapping of keys to values", path)
    return document


def _apply(document: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise UserError("--set expects key=value", override, "For example: --set train.seed=1")
    *parents, leaf = name.split(".")
    node = document
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set: {parent} is a value, not a section", override)
        node = child
    try:
        node[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError("--set: the value is not YAML", override) from None


def _explain(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(first["loc"][-1]), _keys(kind), n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"unknown key {name}{hint}"
    # What a check of ours says stands for itself.
    said = first["msg"].removeprefix("Value error, ")
    return f"{name or 'configuration'}: {said}"


def _keys(kind: type[BaseModel]) -> list[str]:
    """Every key of a configuration class and of its sections."""
    keys: list[str] = []
    for name, info in kind.model_fields.items():
        keys.append(name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            keys += _keys(info.annotation)
    return keys
