"""What reads no encoder is worked out once, and taken again for the other encoders of a run."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_KEPT: dict[Hashable, Any] = {}
# Encoders come one after the other: five seeds of what the tasks of one data set keep, and its rules.
_MOST = 24


def kept(key: Hashable, make: Callable[[], _Value]) -> _Value:
    """The value under `key`, made when it is first asked for; of more than two dozen the oldest is forgotten."""
    if key not in _KEPT:
        value = make()
        while len(_KEPT) >= _MOST:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[key] = value
    found: _Value = _KEPT[key]
    return found
