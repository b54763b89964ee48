"""Keyed, consistent anonymisation of events: collect the identifiers, then replace them everywhere."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.corpus.anonymize.anonymizer import Anonymizer
    from logfm.corpus.anonymize.collecting import collect
    from logfm.corpus.anonymize.identifiers import Identifiers, Names, resolve
    from logfm.corpus.anonymize.key import key_id, read_key, write_key

__all__ = ["Anonymizer", "Identifiers", "Names", "collect", "key_id", "read_key", "resolve", "write_key"]

_PLACES = {
    "Anonymizer": "anonymizer",
    "Identifiers": "identifiers",
    "Names": "identifiers",
    "collect": "collecting",
    "key_id": "key",
    "read_key": "key",
    "resolve": "identifiers",
    "write_key": "key",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
