"""Real events: no collected identifier and no original address comes out, by a search of its own."""

import re
from ipaddress import IPv4Address, ip_network
from itertools import islice

import orjson
import pytest

from logfm.corpus import Event, read_events
from logfm.corpus.anonymize import Anonymizer, collect, resolve
from logfm.corpus.events import SCHEMA
from logfm.corpus.shards import event_batch

INPUTS = [
    "otrf_security_datasets/windows/credential_access/empire_mimikatz_logonpasswords.zip",
    "linux_auth",
    "cloudtrail_stratus",
]
QUAD = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
STEADY = [ip_network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "169.254.169.254/32")]


def quads(text: str) -> set[str]:
    """Dotted quads that name a machine; those right behind "version" and in longer dotted numbers apart."""
    found = set()
    for one in QUAD.finditer(text):
        around = text[one.start() - 1 : one.start()] + text[one.end() : one.end() + 1]
        if "." in around or any(char.isdigit() for char in around):
            continue
        parts = [int(part) for part in one[0].split(".")]
        if max(parts) > 255:
            continue
        if not re.search(r"ersion[\"'\\=: ]*$", text[: one.start()][-16:]):
            found.add(".".join(map(str, parts)))
    return {quad for quad in found if not any(IPv4Address(quad) in network for network in STEADY)}


@pytest.mark.parametrize("given", INPUTS)
def test_no_identifier_of_real_events_comes_out(shared_data, key, given):
    events = [one for one in islice(read_events([str(shared_data / given)]), 3000) if isinstance(one, Event)]
    batch = event_batch(events)
    identifiers = resolve(collect([batch]))
    assert len(identifiers.literals) > 2
    out = Anonymizer(key, identifiers).events(batch)
    assert out.schema == SCHEMA
    words = set()
    mapped: dict[str, set[str]] = {"before": set(), "after": set()}
    for name in ("text", "fields", "host", "user", "process", "file", "session_id", "label"):
        for before, after in zip(batch.column(name).to_pylist(), out.column(name).to_pylist(), strict=True):
            if before:
                spaced = re.sub(r"\\[ntrbf]", " ", after).lower() if name in ("text", "fields") else after.lower()
                words.update(re.findall(r"[^\W_]+(?:[.\-_$' +][^\W_]+)*", spaced))
                words.update(re.split(r"[^\w]|_", spaced))
                mapped["before"] |= quads(before)
                mapped["after"] |= quads(after)
    assert sorted(words & set(identifiers.literals)) == []
    # A permutation may send one address onto another that also occurs; it must not leave any where it stood.
    assert len(mapped["before"]) == len(mapped["after"])
    changed = Anonymizer(key, identifiers)
    assert all(changed.text(quad) in mapped["after"] for quad in mapped["before"])
    assert sum(changed.text(quad) == quad for quad in mapped["before"]) <= 1
    for before, after in zip(events, out.column("text").to_pylist(), strict=True):
        if before.text.startswith("{"):
            assert orjson.loads(after).keys() == orjson.loads(before.text).keys()
