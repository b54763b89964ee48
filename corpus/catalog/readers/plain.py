"""Data sets that come without labels, in formats that are recognised by content."""

from datetime import timedelta

import orjson

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Layout, Treatment, nothing, record_of, seconds, skipping
from logfm.corpus.events import Event
from logfm.corpus.leaf import text_of

_TICKS_1970 = 621_355_968_000_000_000  # 100 ns since the year 1


def unlabelled(copy: Copy) -> Layout:
    """Nothing to join and nothing to change."""
    return Layout(nothing, lambda leaf, path: Treatment())


def clue(copy: Copy) -> Layout:
    """CLUE-LDS: JSON lines whose `uid` is the user and `type` the action."""

    def edit(event: Event) -> Event:
        record = record_of(event)
        event.user, event.log_type = text_of(record.get("uid")), text_of(record.get("type"))
        return event

    return Layout(nothing, lambda leaf, path: Treatment(edit))


def eclog(copy: Copy) -> Layout:
    """EClog: CSV whose `TimeStamp` counts 100 ns since the year 1 (UTC)."""

    def edit(event: Event) -> Event:
        record = record_of(event)
        ticks = int(record["TimeStamp"]) - _TICKS_1970
        start = seconds(ticks // 10_000_000)
        event.timestamp = start and start + timedelta(microseconds=ticks % 10_000_000 // 10)
        event.host, event.user = text_of(record.get("IpId")), text_of(record.get("UserId"))
        event.log_type = "access"
        return event

    return Layout(nothing, lambda leaf, path: Treatment(edit))


def bots(copy: Copy) -> Layout:
    """BOTS: JSON lines as Splunk exports them, `result._raw` being the record; index folders are no logs."""

    def edit(event: Event) -> Event:
        record = record_of(event)
        result = record.get("result", record)
        if not isinstance(result, dict) or not isinstance(result.get("_raw"), str):
            return event
        event.text = result.pop("_raw")
        event.log_type, event.host = text_of(result.get("sourcetype")), text_of(result.get("host"))
        event.fields = orjson.dumps({key: value for key, value in result.items() if not key.startswith("_")}).decode()
        return event

    index = r"\.tsidx$|(?:^|/)(?:db|rb)_\d|/rawdata/|\.data$|bloomfilter$"
    return Layout(skipping(index, "part of a Splunk index, export it as JSON"), lambda leaf, path: Treatment(edit))
