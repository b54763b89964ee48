"""What the message of a line holds: JSON, CEF, LEEF or key=value pairs."""

import re
from datetime import datetime
from typing import Any

import orjson

from logfm.corpus.leaf import Columns
from logfm.corpus.readers.schemas import map_record
from logfm.corpus.times import Clock, parse_time

_PAIR = re.compile(r'([A-Za-z_][\w.-]{0,64})=("(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\s",;|]*)')
_CEF_KEY = re.compile(r"(?:^|\s)([\w.\[\]-]{1,128})=")
_ZONE = re.compile(r"[+-]\d\d:?\d\d")
_CEF_CUT = re.compile(r"[01]\|(?:[^|\n]{0,512}\|){5}(?:\d{1,2}|Low|Medium|High|Very-High|Unknown)\|")
_CEF_TIMES = ("eventtime", "FTNTFGTeventtime", "rt", "devTime", "start", "deviceReceiptTime", "end", "timestamp",
              "Date", "startTime")  # fmt: skip
_CEF_HEAD = ("device_vendor", "device_product", "device_version", "signature_id", "name", "severity")


def parse_payload(message: str, fields: dict[str, Any], clock: Clock) -> Columns:
    """Add the parsed values to `fields`; returns the event columns that they give."""
    start = message[:6].lstrip("\ufeff ")
    if start.startswith("{"):
        return _json(message, fields, clock)
    if start.startswith("CEF:") or _CEF_CUT.match(message):
        return _cef(message, fields, clock)
    if start.startswith("LEEF:"):
        return _leef(message, fields, clock)
    if message.count("=") >= 3:
        return _pairs(message, fields, clock)
    return {}


def _json(message: str, fields: dict[str, Any], clock: Clock) -> Columns:
    try:
        record = orjson.loads(message.strip().lstrip("\ufeff"))
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(record, dict):
        return {}
    fields["message"] = record
    return map_record(record, clock) | {"source": None}


def _pairs(message: str, fields: dict[str, Any], clock: Clock) -> Columns:
    pairs: dict[str, Any] = {}
    for key, value in _PAIR.findall(message):
        if value:
            pairs.setdefault(key, value[1:-1] if value[0] in "\"'" and len(value) > 1 else value)
    for key, value in pairs.items():
        fields.setdefault(key, value)
    columns = map_record(pairs, clock)
    if moment := _pairs_time(pairs, clock):
        columns["timestamp"] = moment
    return {"source": None, **{name: columns.get(name) for name in ("timestamp", "host", "user")}}


def _pairs_time(pairs: dict[str, Any], clock: Clock) -> datetime | None:
    """Firewalls write epoch seconds (`eventtime`), or local times beside the zone that they are in (`tz`)."""
    if (moment := parse_time(pairs.get("eventtime"), clock)) is not None:
        return moment
    date, time, zone = pairs.get("date"), pairs.get("time"), pairs.get("tz", "")
    if time and date and len(date) <= 10:
        time = f"{date} {time}"
    if not time or not _ZONE.fullmatch(zone):
        return parse_time(time, clock)
    return parse_time(f"{time} {zone}", clock) or parse_time(time, clock)


def _cef(message: str, fields: dict[str, Any], clock: Clock) -> Columns:
    parts = re.split(r"(?<!\\)\|", message, maxsplit=7)
    fields.update(zip(_CEF_HEAD, parts[1:7], strict=False))
    values = _extension(parts[7]) if len(parts) > 7 else {}
    for key in [key for key in values if key.endswith("Label")]:
        if (named := values.get(key[:-5])) is not None:
            values.setdefault(values[key][:128], named)
    fields["message"] = values
    return _device_columns(values, fields, clock)


def _extension(text: str) -> dict[str, str]:
    """`key=value` pairs whose values may hold spaces: a value ends where the next key begins."""
    found = list(_CEF_KEY.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    return {
        match[1]: text[match.end() : end].strip().replace("\\=", "=").replace("\\\\", "\\")
        for match, end in zip(found, ends, strict=False)
    }


def _leef(message: str, fields: dict[str, Any], clock: Clock) -> Columns:
    parts = message.split("|")
    fields.update(zip(("device_vendor", "device_product", "device_version", "signature_id"), parts[1:5], strict=False))
    body, delimiter = "|".join(parts[5:]), "\t"
    if parts[0].rstrip().endswith("2.0") and len(parts) > 6 and len(parts[5]) <= 4:
        code = parts[5].removeprefix("0").removeprefix("x")
        delimiter = chr(int(code, 16)) if re.fullmatch("[0-9A-Fa-f]{2}", code) else parts[5] or "\t"
        body = "|".join(parts[6:])
    pairs = (part.partition("=") for part in body.split(delimiter))
    values = {key.strip(): value for key, equals, value in pairs if equals}
    fields["message"] = values
    return _device_columns(values, fields, clock)


def _device_columns(values: dict[str, str], fields: dict[str, Any], clock: Clock) -> Columns:
    moment = None
    for name in _CEF_TIMES:
        if name in values and (moment := parse_time(values[name], clock)):
            break
    else:
        named = (value for name, value in values.items() if name.lower().endswith("time"))
        moment = next((found for value in named if (found := parse_time(value, clock))), None)
    vendor, product = fields.get("device_vendor", ""), fields.get("device_product", "")
    return {
        "timestamp": moment,
        "host": _first(values, "dvchost", "shost", "src", "dvc", "dhost", "identHostName", "MachineName"),
        "user": _first(values, "suser", "duser", "usrName", "User"),
        "process": _first(values, "sproc", "fname", "deviceProcessName", "app"),
        "log_type": f"{vendor} {product}".strip()[:128] or None,
    }


def _first(values: dict[str, str], *names: str) -> str | None:
    return next((values[name] for name in names if values.get(name)), None)
