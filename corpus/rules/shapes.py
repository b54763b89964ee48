"""Events in Sigma's field names, whatever shape a collector gave them: EVTX, XML, winlogbeat, nxlog, nested JSON."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from logfm.corpus.rules.sources import ALIASES, FOLDED, KEYWORDS, SEPARATOR

_MOST_VALUES = 4096
_DEEPEST = 12
Record = Mapping[str, Any]


class WindowsView(NamedTuple):
    """A Windows event: its channel, its id, and its own and the header's fields."""

    channel: str
    event_id: str
    data: Record
    header: Record


def windows_view(record: Record) -> WindowsView:
    """Channel, event id and fields of a Windows event; empty where there is none."""
    event = record.get("Event")
    if isinstance(event, dict) and isinstance(system := event.get("System"), dict):
        return _view(_evtx_header(system), _evtx_data(event))
    winlog = record.get("winlog")
    if isinstance(winlog, dict):
        return _view(
            _beat_header(winlog, record), _mapping(winlog.get("event_data")) or _mapping(winlog.get("user_data"))
        )
    if "event_id" in record and "log_name" in record:
        return _view(
            _beat_header(record, record), _mapping(record.get("event_data")) or _mapping(record.get("user_data"))
        )
    properties = record.get("properties")
    if isinstance(properties, dict) and "EventId" in properties:
        return _view({"EventID": properties["EventId"], "Channel": properties.get("Channel")}, properties)
    return _view(_flat_header(record), record)


def antivirus_data(view: WindowsView) -> Record | None:
    """The fields of an event in which Windows Defender names malware."""
    return view.data if "Windows Defender" in view.channel and view.data.get("ThreatName") else None


def values(view: WindowsView, fields: Sequence[str], most: int) -> tuple[str | None, ...]:
    """The values of Sigma fields as text, at most `most` characters each; None where the event has none."""
    data, header = view.data, view.header
    found = []
    for field in fields:
        value = data.get(field)
        if value is None:
            value = header.get(field)
            if value is None and field == KEYWORDS:
                value = everything(data)
        found.append(value[:most] if type(value) is str else _text(value, most))
    return tuple(found)


def other_values(kind: str, record: Record, text: str, fields: Sequence[str], most: int) -> tuple[str | None, ...]:
    """The same for an event that is no Windows event: `a.b` is a key with a dot, or key b inside a."""
    aliases = ALIASES.get(kind, {})
    folded = kind in FOLDED
    found: list[str | None] = []
    for name in fields:
        if name == KEYWORDS:
            found.append(text[:most])
            continue
        field = name.lower() if folded else name
        value = _inside(record, field)
        for alias in aliases.get(field, ()) if value is None else ():
            value = _inside(record, alias)
            if value is not None:
                break
        found.append(_several(value, most) if isinstance(value, list) else _text(value, most))
    return tuple(found)


def everything(data: Any) -> str:
    """All values of an event, a line each: what keywords are searched in."""
    parts: list[str] = []
    for value in data.values() if type(data) is dict else (data,):
        if type(value) is str:
            parts.append(value)
        elif value is not None:
            _collect(value, parts, 0)
    return "\n".join(parts)


def _view(header: Record, data: Record) -> WindowsView:
    channel = _text(header.get("Channel"), 256) or ""
    if "Windows Defender" in channel:  # the one provider whose names have spaces; Sigma writes them without
        data = {**data, **{name.replace(" ", ""): value for name, value in data.items() if " " in name}}
    return WindowsView(channel, _text(header.get("EventID"), 32) or "", data, header)


def _evtx_header(system: Record) -> Record:
    provider = _attribute(system.get("Provider"), "Name")
    execution = _attributes(system.get("Execution"))
    number = system.get("EventID")
    return {
        **{name: value for name, value in system.items() if not isinstance(value, dict)},
        "EventID": number.get("#text", number.get("Value")) if isinstance(number, dict) else number,
        "Provider_Name": provider,
        "Source": provider,
        "ComputerName": system.get("Computer"),
        "ExecutionProcessID": execution.get("ProcessID"),
        "UserID": _attribute(system.get("Security"), "UserID"),
    }


def _evtx_data(event: Record) -> Record:
    data = event.get("EventData")
    if isinstance(data, dict):
        return _with_data_list(data)
    user = event.get("UserData")
    if isinstance(user, dict):
        inner = [value for value in user.values() if isinstance(value, dict)]
        return inner[0] if len(inner) == 1 else user
    return {}


def _with_data_list(data: Record) -> Record:
    """`Data` without names is what Sigma calls Data; some collectors write names into the elements."""
    listed = data.get("Data")
    if isinstance(listed, dict) and "#text" in listed:
        return {**data, "Data": listed["#text"]}
    if not isinstance(listed, list):
        return data
    named: dict[str, Any] = {}
    for one in islice(listed, _MOST_VALUES):
        if isinstance(one, dict):
            name = _attribute(one, "Name") or one.get("Name") or one.get("@Name")
            if isinstance(name, str):
                named[name] = one.get("#text", one.get("text"))
    return {**named, **{name: value for name, value in data.items() if name != "Data"}} if named else data


def _beat_header(winlog: Record, record: Record) -> Record:
    provider = winlog.get("provider_name") or winlog.get("source_name")
    code = winlog.get("event_id")
    return {
        "Channel": winlog.get("channel") or winlog.get("log_name"),
        "EventID": code if code is not None else _mapping(record.get("event")).get("code"),
        "Provider_Name": provider,
        "Source": provider,
        "Computer": winlog.get("computer_name"),
        "ComputerName": winlog.get("computer_name"),
        "Level": winlog.get("level") or record.get("level"),
        "Task": winlog.get("task"),
        "Opcode": winlog.get("opcode"),
        "UserID": _mapping(winlog.get("user")).get("identifier"),
        "Message": record.get("message"),
    }


def _beat_data(winlog: Record) -> Record:
    return _mapping(winlog.get("event_data")) or _mapping(winlog.get("user_data"))


def _flat_header(record: Record) -> Record:
    provider = record.get("SourceName") or record.get("ProviderName") or record.get("Provider")
    provider = _attribute(provider, "Name") if isinstance(provider, dict) else provider
    channel = record.get("Channel")
    if channel is None and isinstance(provider, str):
        channel = f"{provider}/Operational" if provider.startswith("Microsoft-Windows-Sysmon") else None
        channel = "Security" if provider == "Microsoft-Windows-Security-Auditing" else channel
    host = record.get("Hostname") or record.get("Computer")
    return {
        "Channel": channel,
        "EventID": record.get("EventID"),
        "Provider_Name": provider,
        "Source": provider,
        "Computer": host,
        "ComputerName": host,
    }


def _mapping(value: Any) -> Record:
    return value if isinstance(value, dict) else {}


def _attributes(value: Any) -> Record:
    found = _mapping(value)
    return _mapping(found.get("#attributes")) or {name.removeprefix("@"): one for name, one in found.items()}


def _attribute(value: Any, name: str) -> Any:
    return _attributes(value).get(name)


def _inside(record: Record, field: str) -> Any:
    if field in record or "." not in field:
        return record.get(field)
    value: Any = record
    for part in field.split("."):
        if isinstance(value, list):
            value = _of_each(value, part)
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def _of_each(values: list[Any], part: str) -> list[Any]:
    """What the elements have under a name, lists among it opened."""
    found: list[Any] = []
    for one in islice(values, _MOST_VALUES):
        value = one.get(part) if isinstance(one, dict) else None
        if isinstance(value, list):
            found += value[:_MOST_VALUES]
        elif value is not None:
            found.append(value)
        if len(found) >= _MOST_VALUES:
            break
    return found[:_MOST_VALUES]


def _several(values: list[Any], most: int) -> str:
    parts: list[str] = []
    _collect(values, parts, 0)
    if len(parts) < 2:
        return "".join(parts)[:most]
    return SEPARATOR + SEPARATOR.join(parts)[:most] + SEPARATOR


def _text(value: Any, most: int) -> str | None:
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return everything(value)[:most]
    return str(value)[:most]


def _collect(value: Any, parts: list[str], depth: int) -> None:
    if len(parts) >= _MOST_VALUES or depth > _DEEPEST or value is None:
        return
    if isinstance(value, dict):
        for one in value.values():
            _collect(one, parts, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _collect(one, parts, depth + 1)
    else:
        parts.append(value if isinstance(value, str) else _text(value, 64) or "")
