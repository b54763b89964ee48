"""Keyed, consistent anonymisation of events: collect the identifiers, then replace them everywhere."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.corpus.anonymize.anonymizer import Anonymizer
    from logfm.corpus.anonymize.collecting import collect
    from logfm.corpus.anonymize.identifiers import Identifiers, Names, resolve
    from logfm.corpus.anonymize.key import key_id, keyed_hash, read_key, write_key

__all__ = ["Anonymizer", "Identifiers", "Names", "collect", "key_id", "keyed_hash", "read_key", "resolve", "write_key"]

_PLACES = {
    "Anonymizer": "anonymizer",
    "Identifiers": "identifiers",
    "Names": "identifiers",
    "collect": "collecting",
    "key_id": "key",
    "keyed_hash": "key",
    "read_key": "key",
    "resolve": "identifiers",
    "write_key": "key",
}

__getattr__ = lazy(__name__, _PLACES)
