"""What changes as the days pass: software comes and goes, versions and formats change, people come, go and move.

Attacks and benign behaviour change alike: a change says when an event took place, never what it is.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from logfm.corpus.simulate.templates import Routine
from logfm.corpus.simulate.world import User, World, stream
from logfm.errors import UserError

FILE = Path(__file__).parent / "drift.yaml"
_JOIN, _LEAVE, _MOVE = 0.15, 0.1, 0.15
"""The part of the staff that joins, leaves or changes its role within the span; administrators stay."""
_ROLES = {"office": "developer", "developer": "office"}


class Change(BaseModel):
    """A change of what a source's records look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    since: float = Field(gt=0, lt=1)
    """The part of the span that has passed when the first workstation changes."""
    rollout: float = Field(ge=0, lt=1)
    """How much later the last one does."""
    file: str
    was: str
    becomes: str


class _Changes(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    changes: tuple[Change, ...]


@cache
def load_changes(path: Path = FILE) -> tuple[Change, ...]:
    """The changes of records.

    Raises:
        UserError: the file is wrong.
    """
    try:
        return _Changes.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).changes
    except ValidationError as error:
        raise UserError("cannot read the changes", path, " ".join(str(error).split())[:200]) from None


def happens(name: str, drift: float) -> bool:
    """Whether a change takes place at all, where only the part `drift` of all changes does."""
    return zlib.crc32(name.encode()) % 1000 < drift * 1000


def is_used(routine: Routine, drift: float, share: float) -> bool:
    """Whether a routine is there when the part `share` of the span has passed."""
    if not happens(routine.name, drift):
        return routine.since == 0
    return routine.since <= share < routine.until


def rewrites(drift: float, share: float, host: str) -> dict[str, list[tuple[re.Pattern[str], str]]]:
    """What to replace in the records of a session of a workstation, by file."""
    found: dict[str, list[tuple[re.Pattern[str], str]]] = {}
    for change in load_changes():
        late = change.rollout * (zlib.crc32(f"{change.name}/{host}".encode()) % 1000) / 1000
        if happens(change.name, drift) and change.since + late <= share:
            found.setdefault(change.file, []).append((re.compile(change.was), change.becomes))
    return found


@dataclass(frozen=True)
class Staff:
    """When people join, leave and change their role, in parts of the span."""

    joined: Mapping[str, float]
    left: Mapping[str, float]
    moved: Mapping[str, float]

    def there(self, user: str, share: float) -> bool:
        """Whether someone works for the company."""
        return self.joined.get(user, 0.0) <= share < self.left.get(user, 2.0)

    def as_of(self, user: User, share: float) -> User:
        """Someone with the role of that time."""
        moved = share >= self.moved.get(user.name, 2.0)
        return replace(user, role=_ROLES[user.role]) if moved else user


def staff_of(world: World, drift: float) -> Staff:
    """Who comes, goes and moves; of few people, nobody does."""
    rng = stream(world.seed, "staff")
    others = [user.name for user in world.users.values() if user.role in _ROLES]
    rng.shuffle(others)
    counts = [round(part * drift * len(others)) for part in (_JOIN, _LEAVE, _MOVE)] if len(others) >= 8 else [0, 0, 0]
    groups: list[Sequence[str]] = []
    for count in counts:
        groups.append(others[:count])
        others = others[count:]
    joined, left, moved = ({name: rng.uniform(0.15, 0.85) for name in group} for group in groups)
    return Staff(joined, left, moved)


def world_at(world: World, drift: float, share: float, present: str | None = None) -> World:
    """The company when the part `share` of the span has passed: its people, and their workstations.

    `present` is there in any case: a small side of the split may have nobody else.
    """
    staff = staff_of(world, drift)
    there = {name: user for name, user in world.users.items() if name == present or staff.there(name, share)}
    users = {name: staff.as_of(user, share) for name, user in there.items()}
    gone = {user.host for name, user in world.users.items() if name not in users}
    return replace(world, users=users, hosts={name: one for name, one in world.hosts.items() if name not in gone})
