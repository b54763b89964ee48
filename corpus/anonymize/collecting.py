"""Pass 1: which names of users, hosts and domains the events hold."""

import re
from collections.abc import Iterable
from functools import lru_cache

import pyarrow as pa

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize.domains import is_public, suffix_labels
from logfm.corpus.anonymize.encodings import is_escaped, plain
from logfm.corpus.anonymize.identifiers import Names
from logfm.corpus.anonymize.kept import ALGORITHM_DOMAINS
from logfm.corpus.anonymize.names import Kind
from logfm.corpus.anonymize.positions import WORDS, Finder, is_json, places
from logfm.corpus.anonymize.principals import parts

COLUMNS = ["text", "fields", "host", "user", "process", "file"]
_NAMED: tuple[Kind, ...] = ("host", "user")
_KEY = re.compile(r'"([^"\\]{1,128})"\s{0,4}:')
_EMAIL = re.compile(r"(?<![\w.+\-@])([\w.+\-]{1,64})@([\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8})")
_PROVIDER = re.compile(
    r"(?:ProviderGuid|EventSourceGuid|Provider_Guid)\\{0,4}\"\s{0,4}:\s{0,4}\\{0,4}\"\{?([0-9A-Fa-f\-]{36})"
)


def collect(batches: Iterable[pa.RecordBatch], config: AnonymizeConfig | None = None) -> Names:
    """The names in record batches that have COLUMNS; memory grows with distinct names, up to `max_identifiers`.

    Raises:
        UserError: more distinct names than the configuration allows.
    """
    config = config or AnonymizeConfig()
    names, finder = Names(config), Finder(WORDS)
    for batch in batches:
        for kind in _NAMED:
            for entry in batch.column(kind).value_counts().to_pylist():
                if entry["values"]:
                    _add(names, kind, entry["values"], entry["counts"])
        for column in ("process", "file"):
            for value in batch.column(column).unique().to_pylist():
                if value:
                    _read(names, finder, value)
        for column in ("text", "fields"):
            for value in batch.column(column).to_pylist():
                if value:
                    _read(names, finder, value)
        names.bounded()
    return names


def _read(names: Names, finder: Finder, raw: str) -> None:
    text = plain(raw)
    json = is_json(text)
    for kind, role, start, end in places(text, json, finder.find(text), WORDS):
        if role != "authority":
            _add_part(names, kind, text[start:end], 1)
    if json:
        names.keys.update(key.lower() for key in _KEY.findall(text))
        names.guids.update(guid.lower() for guid in _PROVIDER.findall(text))
    if "@" in text:
        for found in _EMAIL.finditer(text):
            local, domain = found.groups()
            if json and is_escaped(text, found.start()):
                local = local[1:]
            if domain.lower() not in ALGORITHM_DOMAINS and not domain[-1].isdigit():
                names.add("user", local)
                _add_part(names, None, domain, 1)


def _add(names: Names, kind: Kind, value: str, count: int) -> None:
    for own, start, end in parts(kind, value):
        _add_part(names, own, value[start:end], count)


def _add_part(names: Names, kind: Kind | None, value: str, count: int) -> None:
    if kind is not None:
        names.add(kind, value, count)
        return
    for own, label in _labels(value.lower()):
        names.add(own, label, count)


@lru_cache(maxsize=1 << 16)
def _labels(name: str) -> tuple[tuple[Kind, str], ...]:
    """The host and the registered label of a qualified name; a public service has neither."""
    if is_public(name):
        return ()
    labels = name.rstrip("$").split(".")
    own = labels[: -min(suffix_labels(name), len(labels) - 1)]
    domain: tuple[tuple[Kind, str], ...] = (("domain", own[-1]),)
    return (("host", own[0]), *domain) if len(own) > 1 else domain
