"""Readers on bytes that no one meant: no exception, no hang, valid text, every line accounted for."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from datetime import UTC, datetime

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Event, Reject
from logfm.corpus.discover import Input
from logfm.corpus.lines import encoding_of
from logfm.corpus.read import read_input
from logfm.corpus.readers.text import line_formats
from logfm.corpus.unpack import kind_of

LIMIT = 1000
NOTHING = "no event in the file"
CONFIG = CorpusConfig(max_record_bytes=LIMIT, max_unpacked_bytes=1 << 20)
JSON = b"".join(b'{"time": 17000000%02d, "host": "h", "n": [1, {"a": "\\u00e9"}]}\n' % n for n in range(30))
XML = b"<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID>1</EventID></System></Event>"


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", JSON)
        archive.writestr("b/c.log.gz", gzip.compress(b"hello\n" * 50, mtime=0))
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.json")
        info.size = len(JSON)
        archive.addfile(info, io.BytesIO(JSON))
    return out.getvalue()


def captured() -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    packet = bytes(12) + b"\x08\x00" + b"\x45" + bytes(60)
    return head + (struct.pack("<IIII", 1700000000, 0, len(packet), len(packet)) + packet) * 5


ARCHIVES = {
    "gzip": gzip.compress(JSON, mtime=0), "bzip2": bz2.compress(JSON), "xz": lzma.compress(JSON),
    "zstd": zstandard.ZstdCompressor().compress(JSON), "zip": zipped(), "tar": tarred(),
    "tar.gz": gzip.compress(tarred(), mtime=0),
}  # fmt: skip
BUCKETS = {"w": {"hostname": "h", "events": [{"timestamp": "2024-01-01T10:00:00Z", "duration": 5, "data": {}}]}}
STRUCTURED = {
    "json_lines": JSON,
    "json_array": b"[" + JSON.rstrip().replace(b"\n", b",\n") + b"]",
    "json_pretty": json.dumps({"Records": [{"eventTime": "2020-01-01T00:00:00Z", "a": [1]}] * 5}, indent=1).encode(),
    "activitywatch": json.dumps({"buckets": BUCKETS}).encode(),
    "windows_xml": b"<Events>\n" + XML * 3 + b"\n</Events>",
    "xml_lines": b'<co ts="2014-06-02T22:02:13.94" us="a"/>\n' * 4,
    "zeek": b"#separator \\x09\n#set_separator\t,\n#fields\tts\ta\n#types\ttime\tset[count]\n1.0\t1,2\n2.0\t-\n",
    "w3c": b"#Software: x\n#Fields: date time c-ip\n2020-01-01 00:00:00 1.2.3.4\n",
    "csv": b'time,b,c\n1700000000,"2\n3",4\n5,6,7\n',
    "auditd": b"type=SYSCALL msg=audit(1.2:3): a0=1\ntype=EXECVE msg=audit(1.2:3): argc=1 a0=6c73\n",
    "symantec": b'2A0A1E011B21,7,3,8,HOST,SYSTEM,,,,,,,16777216,"text",0\n',
    "utf16": JSON.decode().encode("utf-16"),
    "pcap": captured(),
    "evtx": b"ElfFile\0" + bytes(4088) + b"ElfChnk\0" + bytes(300),
}
LINES = {one.spec.name: ("\n".join([*one.spec.examples, ""]) * 3).encode() for one in line_formats()}
SEEDS = list((ARCHIVES | STRUCTURED | LINES).values())
# Bytes that mean something to one of the formats.
TOKENS = st.sampled_from(
    [b"\n", b"\r\n", b"\0", b'"', b"{", b"}", b"[", b"]", b",", b"=", b"|", b"<", b">", b"\\", b"\xff", b" " * 50,
     b"\xef\xbb\xbf", b"\\u", b"\\ud800", b"9" * 40, b"1e999", b"NaN", b"null", b"#fields\t", b"<!DOCTYPE",
     b"\x2a\x2a\0\0", b"PK\3\4", b"\x1f\x8b\x08", b"2020-13-45T99:99:99Z"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(TOKENS, st.binary(max_size=8))), max_size=8)
FUZZED = settings(deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Read bytes, hold what comes to what every reader promises, and return it."""
    path = tmp_path_factory.mktemp("fuzz") / "input"

    def run(data: bytes) -> list[Event | Reject]:
        path.write_bytes(data)
        records: list[Event | Reject] = []
        forms = set()
        for part in read_input(Input(path, "input", "s", len(data), datetime(2024, 1, 1, tzinfo=UTC)), CONFIG):
            forms.add(part.format)
            records += part.records
        assert records, "neither an event nor a reject"
        for record in records:
            record.file.encode()
            assert record.offset >= 0
            if isinstance(record, Reject):
                assert record.reason
                assert record.excerpt.isprintable()
                continue
            assert record.text
            for text in (record.text, record.source, record.host, record.user, record.process, record.log_type):
                assert text is None or text.encode() is not None
            assert record.fields is None or isinstance(orjson.loads(record.fields), dict)
            assert record.timestamp is None or record.timestamp.tzinfo is UTC
        if forms <= LINE_BY_LINE and kind_of(data) is None and encoding_of(data)[0] == "utf-8":
            found = [record.offset for record in records if not isinstance(record, Reject) or record.reason != NOTHING]
            assert sorted(found) == line_offsets(data)
        return records

    return run


LINE_BY_LINE = {"json_lines", "text"} | {one.spec.name for one in line_formats() if not one.spec.continuation}


def line_offsets(data: bytes) -> list[int]:
    """Where each line that is not blank begins."""
    offsets, at = [], 3 if data.startswith(b"\xef\xbb\xbf") else 0
    for line in data[at:].split(b"\n"):
        if line.strip():
            offsets.append(at)
        at += len(line) + 1
    return offsets


def mutated(seed: bytes, edits) -> bytes:
    """Replace `cut` bytes at a share of the length by a piece, for each edit."""
    data = bytearray(seed)
    for share, cut, piece in edits:
        at = int(share * len(data))
        data[at : at + cut] = piece
    return bytes(data)


@settings(FUZZED, max_examples=200)
@given(st.binary(max_size=400))
def test_arbitrary_bytes(check, data):
    check(data)


@settings(FUZZED, max_examples=150)
@given(st.text(max_size=300), st.sampled_from(["utf-8", "utf-16", "utf-16-be", "latin-1"]))
def test_arbitrary_text_in_any_encoding(check, text, encoding):
    check(text.encode(encoding, "replace"))


@settings(FUZZED, max_examples=1200)
@given(st.sampled_from(SEEDS), EDITS)
def test_mutated_samples_of_each_format(check, seed, edits):
    check(mutated(seed, edits))


@settings(FUZZED, max_examples=200)
@given(st.sampled_from(list(STRUCTURED.values())), st.sampled_from(list(LINES.values())), EDITS)
def test_formats_that_are_mixed_in_one_file(check, first, second, edits):
    check(mutated(first + second, edits))


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_cut_at_every_place(check, name):
    archive = ARCHIVES[name]
    whole = sum(isinstance(record, Event) for record in check(archive))
    first = 512 if name == "tar" else 8  # less is no archive yet
    for end in range(first, len(archive), max(1, len(archive) // 60)):
        records = check(archive[:end])
        events = sum(isinstance(record, Event) for record in records)
        # What was cut off its end must not pass for a whole archive: where events are missing, something says so.
        assert events == whole or (events < whole and len(records) > events)


@pytest.mark.parametrize("name", STRUCTURED)
def test_documents_cut_at_every_place(check, name):
    for end in range(0, len(STRUCTURED[name]), max(1, len(STRUCTURED[name]) // 40)):
        check(STRUCTURED[name][:end])
