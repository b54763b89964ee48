"""Sources as data: a file of `sources/` says where a source is stored and what its records look like."""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from logfm.corpus.simulate.records import moment, syslog_time
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import address_of
from logfm.errors import UserError

FOLDER = Path(__file__).parent / "sources"
_CITIES = (("Hamburg", "DE"), ("Berlin", "DE"), ("Madrid", "ES"), ("Lyon", "FR"), ("Utrecht", "NL"), ("Leeds", "GB"))
"""Where addresses are said to be; the first is the company's."""
NUMBER = "\0"
"""Stands in a line for its running number in the file (frames, audit serials)."""


class FlowSpec(BaseModel):
    """The conversation by which a record came about: templates of two addresses, and the server's port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: str
    server: str
    port: int


class PickSpec(BaseModel):
    """A value that depends on another one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    """What it depends on: the name of something given, or of a default."""
    cases: dict[str, str]
    otherwise: str


class RecordSpec(BaseModel):
    """A kind of record: lines of text, or the fields of a JSON object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: tuple[str, ...] = ()
    """Templates, one an event; one with line breaks is one event of several lines."""
    fields: dict[str, Any] = {}
    """A JSON object whose texts are templates: `=name` parses `key=value; key=value`, `#name` is a number, `?name` is
    true or false."""
    takes: tuple[str, ...] = ()
    """What must be given: further placeholders of the templates."""
    defaults: dict[str, str] = {}
    """What may be given."""
    values: dict[str, str] = {}
    """Templates that are filled once for all lines, in this order; `@name` is the name's address."""
    picks: dict[str, PickSpec] = {}
    """Values by what is given."""
    flow: FlowSpec | None = None


class SourceSpec(BaseModel):
    """A source: its file in a session's folder, and its kinds of record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z]+$")
    file: str
    records: dict[str, RecordSpec]


class _Known(NamedTuple):
    file: str
    spec: RecordSpec


class Rendered(NamedTuple):
    """A record's file and bodies; and client, server and port of its conversation, where it has one."""

    file: str
    bodies: list[str]
    flow: tuple[str, str, int] | None


@cache
def record_specs() -> dict[str, _Known]:
    """The kinds of record of all sources, as `source.kind`.

    Raises:
        UserError: a file is wrong.
    """
    found: dict[str, _Known] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        try:
            source = SourceSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UserError("cannot read the source", path, " ".join(str(error).split())[:200]) from None
        for kind, spec in source.records.items():
            found[f"{source.name}.{kind}"] = _Known(source.file, spec)
    return found


def check_record(name: str, data: Mapping[str, str]) -> None:
    """Check that there is such a record and that it is given what it takes.

    Raises:
        ValueError: an unknown record, or data that it does not take or that is missing.
    """
    known = record_specs().get(name)
    if known is None:
        raise ValueError(f"no source has a record {name}")
    if missing := set(known.spec.takes) - set(data):
        raise ValueError(f"{name} needs {', '.join(sorted(missing))}")
    if other := set(data) - set(known.spec.takes) - set(known.spec.defaults):
        raise ValueError(f"{name} takes no {', '.join(sorted(other))}")


def render(name: str, data: Mapping[str, str], cast: Cast, time: int) -> Rendered:
    """A record at a time (microseconds since 1970); `data` holds filled texts."""
    file, spec = record_specs()[name]
    own = _times(time)
    for key, text in data.items():
        own |= _derived(key, text)
    for key, text in spec.defaults.items():
        if key not in data:
            own |= _derived(key, _fill(text, own, cast))
    if "from" in own:
        home = own["from"] == cast.get("egress")
        number = 0 if home else int.from_bytes(blake2b(own["from"].encode(), digest_size=2).digest(), "big")
        own["from_city"], own["from_country"] = _CITIES[number % len(_CITIES)]
    if "who" in own:
        own["who_id"] = blake2b(f"{own['who']}/{cast.world.seed}".encode(), digest_size=8).hexdigest().upper()
    for key, pick in spec.picks.items():
        own[key] = _fill(pick.cases.get(own[pick.of], pick.otherwise), own, cast)
    for key, text in spec.values.items():
        filled = _fill(text.removeprefix("@"), own, cast)
        own[key] = address_of(cast.world, filled) if text[:1] == "@" else filled
    ends = spec.flow
    flow = (_fill(ends.client, own, cast), _fill(ends.server, own, cast), ends.port) if ends else None
    if spec.fields:
        return Rendered(file, [orjson.dumps(_object(spec.fields, own, cast)).decode()], flow)
    return Rendered(file, [_fill(line, own, cast) for line in spec.lines], flow)


def _derived(key: str, text: str) -> dict[str, str]:
    """What is given, and what records of the audit daemon say of it besides: a command's words and program, a program's
    name, an address in bytes."""
    if key == "command":
        words = text.split(" ")
        return {
            key: text,
            "command_argc": str(len(words)),
            "command_argv": " ".join(f"a{n}={_audit_text(word)}" for n, word in enumerate(words)),
            "command_program": words[0] if words[0].startswith("/") else f"/usr/bin/{words[0]}",
            "command_hex": "\0".join(words).encode().hex().upper(),
        }
    if key == "exe":
        return {key: text, "exe_name": text.rsplit("/", 1)[-1]}
    if key == "saddr":
        address, _, port = text.partition(":")
        in_bytes = f"{int(port or 443):04X}" + "".join(f"{int(part):02X}" for part in address.split("."))
        return {key: text, "saddr_inet": in_bytes}
    return {key: text}


def _times(time: int) -> dict[str, str]:
    when = moment(time)
    return {
        "t_syslog": syslog_time(time),
        "t_iso": f"{when:%Y-%m-%dT%H:%M:%S}Z",
        "t_iso_ms": f"{when:%Y-%m-%dT%H:%M:%S}.{time % 1_000_000 // 1000:03d}Z",
        "t_epoch": f"{time // 1_000_000}.{time % 1_000_000 // 1000:03d}",
        "t_number": NUMBER,
    }


def _fill(text: str, own: Mapping[str, str], cast: Cast) -> str:
    from logfm.corpus.simulate.templates import PLACEHOLDER

    return PLACEHOLDER.sub(lambda match: own[match[1]] if match[1] in own else cast.get(match[1]), text)


def _object(template: Any, own: Mapping[str, str], cast: Cast) -> Any:
    if isinstance(template, dict):
        filled = {key: _object(value, own, cast) for key, value in template.items()}
        return {key: value for key, value in filled.items() if value != ""}
    if isinstance(template, list):
        return [_object(value, own, cast) for value in template]
    if not isinstance(template, str):
        return template
    if template[:1] == "=":
        pairs = [part.partition("=") for part in own[template[1:]].split("; ") if part]
        return {key: value for key, _, value in pairs} or None
    if template[:1] == "#":
        return int(own[template[1:]])
    if template[:1] == "?":
        return own[template[1:]] == "true"
    return _fill(template, own, cast)


def _audit_text(word: str) -> str:
    plain = word.isascii() and word.isprintable() and '"' not in word
    return f'"{word}"' if plain else word.encode().hex().upper()
