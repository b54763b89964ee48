"""Sigma rule files as YAML documents: folders and zips, bounded, without aliases; what is refused is counted."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from logfm.configs.schema.rules import RulesConfig
from logfm.errors import UserError

_SUFFIXES = (".yml", ".yaml")
_DEEPEST = 32  # levels; libyaml's builder overruns the C stack where nesting has no bound
_MOST_EVENTS = 200_000
_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(NamedTuple):
    """One YAML document of a rule file, or the reason why there is none."""

    file: str
    content: dict[str, Any] | None
    reason: str | None


def read_documents(source: str | Path, config: RulesConfig | None = None) -> Iterator[Document]:
    """The rule documents under a folder or in a zip, in order of their names; a single file is read too.

    Raises:
        UserError: no such path, no zip, or nothing in it is named .yml or .yaml.
    """
    config = config or RulesConfig()
    found = False
    for name, data in _files(Path(source), config.max_rule_bytes):
        found = True
        if isinstance(data, bytes):
            yield from _parsed(name, data)
        else:
            yield Document(name, None, data)
    if not found:
        raise UserError("no rules (.yml, .yaml) found", source, "Give a folder or a zip of Sigma rules.")


def _files(source: Path, limit: int) -> Iterator[tuple[str, bytes | str]]:
    """Names and contents; a string instead of bytes is the reason why a file is left out."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in _SUFFIXES:
                yield path.relative_to(source).as_posix(), _content(path, limit)
    elif source.is_file() and zipfile.is_zipfile(source):
        yield from _members(source, limit)
    elif source.is_file() and source.suffix.lower() in _SUFFIXES:
        yield source.name, _content(source, limit)
    elif source.exists():
        raise UserError("neither a folder nor a zip of Sigma rules", source)
    else:
        raise UserError("no such file or folder", source, "Give a folder or a zip of Sigma rules.")


def _content(path: Path, limit: int) -> bytes | str:
    try:
        if not path.is_file():
            return "not a plain file"
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError:
        return "unreadable file"
    return data if len(data) <= limit else "file too large"


def _members(source: Path, limit: int) -> Iterator[tuple[str, bytes | str]]:
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError("damaged zip", source) from error
    with archive:
        for member in sorted(archive.infolist(), key=lambda one: one.filename):
            if member.is_dir() or Path(member.filename).suffix.lower() not in _SUFFIXES:
                continue
            try:
                with archive.open(member) as stream:
                    data = stream.read(limit + 1)
            except Exception as error:  # noqa: BLE001 - zipfile and its codecs raise many kinds on damaged members
                yield member.filename, f"damaged zip member ({type(error).__name__})"
                continue
            yield member.filename, data if len(data) <= limit else "file too large"


def _parsed(name: str, data: bytes) -> Iterator[Document]:
    try:
        text = data.decode("utf-8-sig")
        refused = _refused(text)
        documents = [] if refused else list(yaml.load_all(text, Loader=_SAFE))
    except UnicodeDecodeError:
        yield Document(name, None, "not UTF-8")
        return
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        yield Document(name, None, "broken YAML")
        return
    if refused:
        yield Document(name, None, refused)
    for content in documents:
        if isinstance(content, dict):
            yield Document(name, content, None)
        elif content is not None:
            yield Document(name, None, "not a mapping")


def _refused(text: str) -> str | None:
    """Why a text must not be built into objects: an alias can multiply its size, deep nesting can end the process."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_SAFE)):
        if isinstance(event, yaml.AliasEvent):
            return "YAML alias"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST or number > _MOST_EVENTS:
            return "YAML nested too deeply"
    return None
