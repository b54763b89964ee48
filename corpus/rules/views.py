"""An event that is none of Windows as the rules of each kind see it."""

from collections.abc import Iterator, Mapping
from typing import Any

from logfm.corpus.rules.cloud import azure_view, google_views
from logfm.corpus.rules.hosts import View, audit_views, ecs_view, falcon_view, sysmon_view
from logfm.corpus.rules.sources import event_kind

Record = Mapping[str, Any]


def views(source: str, log_type: str | None, text: str, record: Record) -> Iterator[View]:
    """The views of an event, none where no rule can be for it. `record` holds its fields, empty where it has none."""
    if source == "auditd":
        yield from audit_views(text)
        return
    kind = event_kind(source, log_type, text)
    if kind is not None:
        yield View(kind, record, text)
    found: View | None = None
    match source:
        case "zeek" if log_type == "dns":
            found = View("dns", record, text)
        case "suricata" if log_type == "dns":
            found = View("dns", record, text)
        case "windows_dns":
            found = View("dns", {**record, "query": _dns_name(str(record.get("message", "")))}, text)
        case "azure" | "entra":
            found = azure_view(record, text)
        case "gcp" | "google_workspace":
            yield from google_views(record, text)
        case "crowdstrike":
            found = falcon_view(record, text)
        case _ if "Linux-Sysmon" in text:
            found = sysmon_view(_inside(record, text))
        case _ if kind is None and record:
            found = _by_fields(record, text)
    if found is not None:
        yield found


def _by_fields(record: Record, text: str) -> View | None:
    """What is told by its fields alone."""
    if isinstance(record.get("event"), dict) and "@timestamp" in record:
        return ecs_view(record, text)
    if record.get("type") == "event" and "devid" in record and "logid" in record:
        return View("fortigate", record, text)
    if isinstance(record.get("Type"), str) and "TimeGenerated" in record:
        return azure_view(record, text)
    return None


def _inside(record: Record, text: str) -> str:
    """The message that a collector wrapped."""
    values = (record.get(name) for name in ("SyslogMessage", "message", "MESSAGE", "Message"))
    return next((one for one in values if isinstance(one, str) and "<EventID>" in one), text)


def _dns_name(message: str) -> str:
    """`(3)www(7)example(3)com(0)` as a name."""
    return ".".join(part for part in message.replace("(", ")").split(")")[2::2] if part)
