"""An ATT&CK release: which technique ids there are, which replaced which, their names and tactics."""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from logfm.artifacts import file_hash
from logfm.configs.base import find, read_yaml
from logfm.configs.schema.cases import AttackConfig
from logfm.errors import UserError

TECHNIQUES, REPLACED = "techniques.jsonl.gz", "revoked_by.jsonl.gz"
_SHIPPED = "finetune/attack"
_ID = re.compile(r"T\d{4}(?:\.\d{3})?")
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Technique:
    """One technique or sub-technique."""

    name: str
    tactics: tuple[str, ...]
    """Short names (`initial-access`), in the release's order."""


@dataclass(frozen=True)
class Attack:
    """A release."""

    release: str
    techniques: Mapping[str, Technique]
    """Those that hold, by id."""
    replaced: Mapping[str, str]
    """Revoked ids and what they became."""
    digest: str
    """Hash of the file that it was read from."""

    def parent(self, technique: str) -> str:
        """The technique of a sub-technique; itself otherwise."""
        return technique.partition(".")[0]

    def tactics(self, technique: str) -> tuple[str, ...]:
        """Tactics of a technique, those of its parent where it isn't in the release itself; none where neither is."""
        found = self.techniques.get(technique) or self.techniques.get(self.parent(technique))
        return found.tactics if found else ()

    def name(self, technique: str) -> str:
        """Its name, or the id where it isn't in the release."""
        found = self.techniques.get(technique)
        return found.name if found else technique


def load_attack(config: AttackConfig) -> Attack:
    """The release that a configuration names.

    Raises:
        UserError: no such folder, a damaged file, another release than the pinned one, or none that ships.
    """
    path = find(_SHIPPED) if config.path is None else config.path / TECHNIQUES
    if not path.is_file():
        raise UserError("no ATT&CK release here (techniques.jsonl.gz)", config.path)
    digest = file_hash(path)
    if config.sha256 not in (None, digest):
        raise UserError("another ATT&CK release than the pinned one", path, f"Its hash is {digest}.")
    if config.path is not None:
        return _read(config.path, config.release, digest)
    shipped = _shipped(digest)
    if config.release != shipped.release:
        raise UserError(f"only ATT&CK {shipped.release} ships", config.release, "Give its folder: attack.path.")
    return shipped


@lru_cache(maxsize=4)
def _read(folder: Path, release: str, digest: str) -> Attack:
    techniques = {}
    for row in _rows(folder / TECHNIQUES):
        if row.get("status", "live") == "live":
            tactics = tuple(map(str, row.get("tactics") or ()))
            techniques[str(row.get("id"))] = Technique(str(row.get("name")), tactics)
    replaced: dict[str, str] = {}
    if (folder / REPLACED).is_file():
        for row in _rows(folder / REPLACED):
            if _ID.fullmatch(str(row.get("old"))):
                replaced[str(row["old"])] = str(row.get("new"))
    if not techniques:
        raise UserError("the ATT&CK release holds no technique", folder / TECHNIQUES)
    return Attack(release, techniques, replaced, digest)


@lru_cache(maxsize=1)
def _shipped(digest: str) -> Attack:
    """The release that ships: all techniques that hold, and what replaced those that were revoked."""
    found = read_yaml(find(_SHIPPED))
    techniques = {one: Technique(row["name"], tuple(row["tactics"])) for one, row in found["techniques"].items()}
    return Attack(found["release"], techniques, found["revoked"], digest)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(_LARGEST)
        rows = [orjson.loads(line) for line in content.splitlines() if line.strip()]
    except (OSError, EOFError, zlib.error, orjson.JSONDecodeError) as error:
        raise UserError(f"not JSON lines ({type(error).__name__})", path) from None
    return (row for row in rows if isinstance(row, dict))


class Labels:
    """Technique ids of data sets as labels of one release; what is done to them is counted."""

    def __init__(self, attack: Attack, config: AttackConfig) -> None:
        self.attack = attack
        self.counts: Counter[str] = Counter()
        """Ids by what became of them: replaced, unknown."""
        self._config = config

    def resolve(self, given: Iterable[str]) -> tuple[str, ...]:
        """Ids as labels: each once, in their order; revoked ones replaced, at the level that is asked for.

        Raises:
            UserError: an unknown id, where the configuration refuses them.
        """
        found = (self._one(name.strip().upper()) for name in given)
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def _one(self, given: str) -> str | None:
        held, replaced = given, self.attack.replaced
        for _ in range(8):  # what replaced it can have been replaced
            if held not in replaced:
                break
            held = replaced[held]
        if held != given:
            self.counts["technique ids replaced by the release"] += 1
        if held not in self.attack.techniques:
            if self._config.unknown == "refuse":
                raise UserError(f"a technique that ATT&CK {self.attack.release} doesn't have", given)
            self.counts["technique ids that the release doesn't have"] += 1
            if self._config.unknown == "drop" or not _ID.fullmatch(held):
                return None
        return self.attack.parent(held) if self._config.level == "parent" else held
