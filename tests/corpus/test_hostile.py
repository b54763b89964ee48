"""Bad and hostile input: what can be read is read, the rest is a counted reject, and the run goes on."""

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import random
import resource
import struct
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Event, Reject, build, read_events
from logfm.corpus.discover import Input
from logfm.corpus.read import read_input
from logfm.corpus.survey import survey

LINES = [json.dumps({"n": n, "time": 1700000000 + n}) for n in range(2000)]
DATA = "".join(f"{line}\n" for line in LINES).encode()
PACKERS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def tarred(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1700000000
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def reasons(rejects) -> list[str]:
    return [one.reason for one in rejects]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_compression_is_known_by_content_and_offsets_count_unpacked_bytes(write, read, pack):
    events, rejects = read(write("a.whatever", pack(DATA)))
    assert [one.text for one in events] == LINES
    assert rejects == []
    assert all(DATA[one.offset :].startswith(one.text.encode()) for one in events)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_file_of_several_compressed_streams(write, read, pack):
    assert len(read(write("a.log", pack(DATA) + pack(DATA)))[0]) == 4000


@pytest.mark.parametrize(("title", "pack"), PACKERS.items(), ids=PACKERS)
def test_truncated_compression_gives_what_could_be_read(write, read, title, pack):
    noise = random.Random(0)
    lines = [json.dumps({"n": n, "noise": noise.randbytes(200).hex()}) for n in range(5000)]
    packed = pack("\n".join(lines).encode())
    events, (reject,) = read(write("a.gz", packed[: len(packed) * 2 // 3]))
    assert [one.text for one in events] == lines[: len(events)]
    assert len(events) > 500
    assert reject.reason == f"truncated {title} data"
    assert reject.offset == sum(len(line) + 1 for line in lines[: len(events)])


@pytest.mark.parametrize(("title", "pack"), PACKERS.items(), ids=PACKERS)
def test_damaged_compression_ends_in_a_reject(write, read, title, pack):
    packed = bytearray(pack(DATA))
    packed[len(packed) // 2 : len(packed) // 2 + 8] = b"\xff" * 8
    _, rejects = read(write("a.gz", bytes(packed)))
    assert any(title in reason or "malformed" in reason for reason in reasons(rejects))


def test_zip_members_are_named_and_macos_junk_is_skipped(write, read, tmp_path):
    path = write("a.zip", zipped(("in/x.json", b'{"n": 1}'), ("__MACOSX/._x.json", b"\0\x05\x16\x07" * 20),
                                 ("in/._y.json", b"junk"), ("dir/", b"")))  # fmt: skip
    (event,), rejects = read(tmp_path / "logs")
    assert (event.file, event.text, event.source) == (f"{path}!in/x.json", '{"n": 1}', "a")
    assert rejects == []


def test_archives_in_archives_are_opened_once(write, read):
    inner = zipped(("x.log", b"hello\n"))
    path = write(
        "a.zip",
        zipped(("inner.zip", inner), ("deep.zip", zipped(("inner.zip", inner))), ("y.log.gz", gzip.compress(b"hi\n"))),
    )
    events, (reject,) = read(path)
    assert [(one.file, one.text) for one in events] == [
        (f"{path}!inner.zip!x.log", "hello"),
        (f"{path}!y.log.gz", "hi"),
    ]
    assert (reject.reason, reject.file) == ("archives nested too deeply", f"{path}!deep.zip!inner.zip")


@pytest.mark.parametrize("pack", [bytes, *PACKERS.values()], ids=["plain", *PACKERS])
def test_tar_archives(write, read, pack):
    path = write("a.tar.x", pack(tarred(("one.json", DATA), ("sub/two.log", b"hello\n"))))
    events, rejects = read(path)
    assert len(events) == 2001
    assert (events[-1].file, events[-1].text) == (f"{path}!sub/two.log", "hello")
    assert rejects == []


def test_truncated_tar_gives_what_could_be_read(write, read):
    events, rejects = read(write("a.tgz", gzip.compress(tarred(("a.json", DATA), ("b.json", DATA))[:-50000])))
    assert len(events) > 2000
    assert all("truncated tar" in reason or "unexpected end" in reason for reason in reasons(rejects))
    assert rejects


def test_truncated_zip_gives_what_could_be_read(write, read):
    packed = zipped(("a.json", DATA), ("b.json", DATA), ("c.json", DATA))
    events, rejects = read(write("a.zip", packed[: len(packed) // 2]))
    assert len(events) > 2000
    assert [one.text for one in events[:2000]] == LINES
    assert any(reason.startswith("truncated") for reason in reasons(rejects))


def test_members_that_a_zips_directory_hides_are_salvaged(write, read):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", '{"x": 1}\n' * 5)
    content = packed.getvalue()
    hidden = content[: content.index(b"PK\x01\x02")] + b"PK\x05\x06" + bytes(18)
    events, rejects = read(write("a.zip", hidden))
    assert len(events) == 5
    assert reasons(rejects) == ["truncated or damaged zip (its directory names no member)"]
    events, rejects = read(write("empty.zip", b"PK\x05\x06" + bytes(18)))
    assert not events


def test_a_zip_that_streams_out_its_sizes_is_salvaged_too(write, read):
    out = io.BytesIO()
    out.seekable = lambda: False
    out.seek = out.tell = None
    sink = io.BytesIO()

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return sink.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", DATA)
        archive.writestr("b.json", DATA)
    packed = sink.getvalue()
    end = packed.index(b"PK\x01\x02")
    assert len(read(write("whole.zip", packed))[0]) == 4000
    assert len(read(write("cut.zip", packed[:end]))[0]) == 4000


def test_members_behind_a_large_one_are_salvaged_too(write, read):
    # It unpacks to more than one chunk, and ends in the middle of what was read of the file at once.
    packed = zipped(("a.log", b"the same line\n" * 100_000), ("b.log", b"behind it\n"))
    events, rejects = read(write("cut.zip", packed[: packed.index(b"PK\x01\x02")]))
    assert len(events) == 100_001
    assert events[-1].text == "behind it"
    assert [reason.partition(" (")[0] for reason in reasons(rejects)] == ["truncated or damaged zip"]


def test_encrypted_member(write, read):
    packed = bytearray(zipped(("a.log", b"hello\n"), method=zipfile.ZIP_STORED))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(magic) + at] |= 1
    events, rejects = read(write("a.zip", bytes(packed)))
    assert events == []
    assert reasons(rejects) == ["encrypted member of a zip"]


def test_names_that_climb_out_of_the_archive_are_only_labels(write, read, tmp_path):
    before = sorted(tmp_path.parent.iterdir())
    names = ["../../evil.log", "/tmp/logfm-evil.log", "C:\\evil.log"]
    zip_path = write("a.zip", zipped(*((name, b"x\n") for name in names)))
    tar_path = write("a.tar", tarred(*((name, b"x\n") for name in names)))
    for path in (zip_path, tar_path):
        assert [one.file for one in read(path)[0]] == [f"{path}!{name}" for name in names]
    assert sorted(tmp_path.parent.iterdir()) == before
    assert not Path("/tmp/logfm-evil.log").exists()


def test_links_and_devices_in_a_tar_are_rejected(write, read):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"member{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    events, rejects = read(write("a.tar", out.getvalue()))
    assert events == []
    assert reasons(rejects) == ["not a file (a link or device in an archive)"] * 4


@pytest.mark.parametrize(
    "pack", [*PACKERS.values(), lambda data: zipped(("a", data), ("b", data))], ids=[*PACKERS, "zip"]
)
def test_bombs_are_stopped_by_ratio_and_by_size(write, read, pack):
    bomb = write("bomb", pack(b"a line of a bomb\n" * 100_000))
    for limits, words in (
        ({"max_ratio": 20, "ratio_grace_bytes": 100_000}, "times its size"),
        ({"max_unpacked_bytes": 1 << 20}, "bytes"),
    ):
        events, rejects = read(bomb, **limits)
        assert len(events) < 100_000
        assert len(rejects) == 1
        assert rejects[0].reason.startswith("unpacks to more than")
        assert rejects[0].reason.endswith(words)


def test_duplicate_member_names_keep_ids_apart(write, read):
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed = zipped(("a.log", b"one\n"), ("a.log", b"two\n"))
    path = write("a.zip", packed)
    events, _ = read(path)
    assert [one.file for one in events] == [f"{path}!a.log", f"{path}!a.log#2"]
    assert len({one.event_id for one in events}) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"\n\n \n", "no event in the file"),
        (b"\x7fELF\x02\x01\x01" + bytes(2000), "not a log (ELF program)"),
        (b"MZ\x90\0" + bytes(200), "not a log (Windows program)"),
        (random.Random(1).randbytes(5000), "not a log (binary)"),
        (b"SQLite format 3\0" + bytes(100), "not a log (SQLite database)"),
        (bytes(10_000), "not a log (binary)"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "not a log (7-Zip archive, unpack it first)"),
    ],
)
def test_what_is_no_log(write, read, data, reason):
    events, rejects = read(write("x", data), write("good.log", "hello\n"))
    assert [one.text for one in events] == ["hello"]
    assert [(one.reason, one.offset) for one in rejects] == [(reason, 0)]


def test_invalid_utf8_and_nul_bytes_stay_in_the_text(write, read):
    path = write("a.log", b"caf\xe9 \xff\xfe one\n" + "zażółć\n".encode() + b"nul\0 and \x1b[31m bell\x07\n")
    events, rejects = read(path)
    assert [one.text for one in events] == ["caf\\xe9 \\xff\\xfe one", "zażółć", "nul\0 and \x1b[31m bell\x07"]
    assert rejects == []


def test_latin1_and_nul_bytes_in_json(write, read):
    events, rejects = read(write("a.json", b'{"user": "caf\xe9"}\n{"user": "x"}\n{"user": "a\0b"}\n'))
    assert [one.user for one in events] == ["caf\\xe9", "x", "a\0b"]
    assert rejects == []


def test_lone_surrogates_and_nan_in_json(write, read):
    events, rejects = read(write("a.json", '{"user": "\\ud800", "v": NaN}\n{"user": "ok", "big": 1e999}\n'))
    assert len(events) == 2
    assert rejects == []
    assert all(one.user.encode() for one in events)


def test_a_ten_megabyte_line_is_rejected_and_the_next_line_read(write, read):
    events, (reject,) = read(write("a.log", b"before\n" + b"x" * 10_000_000 + b"\nafter\n"))
    assert [(one.text, one.offset) for one in events] == [("before", 0), ("after", 10_000_008)]
    assert (reject.reason, reject.offset, reject.excerpt) == ("record longer than 1048576 bytes", 7, "x" * 200)


@pytest.mark.parametrize(
    "layout", ['[{{"a": 1}}, {{"b": "{}"}}, {{"c": 3}}]', '{{"a": 1}}\n{{"b": "{}"}}\n{{"c": 3}}\n']
)
def test_a_ten_megabyte_json_value_is_rejected(write, read, layout):
    events, (reject,) = read(write("a.json", layout.format("x" * 10_000_000)))
    assert [one.text for one in events] == ['{"a": 1}', '{"c": 3}']
    assert reject.offset == layout.format("").index('{"b"')
    assert "longer than 1048576 bytes" in reject.reason


def test_malformed_json_in_the_middle(write, read):
    events, (reject,) = read(write("a.json", '{"a": 1}\n{"a": \n{"a": 3}\n'))
    assert [one.text for one in events] == ['{"a": 1}', '{"a": 3}']
    assert (reject.reason, reject.offset, reject.excerpt) == ("malformed JSON", 9, '{"a": ')


def test_deeply_nested_json(write, read):
    deep = "[" * 100_000 + "]" * 100_000
    events, (reject,) = read(write("a.json", f'{{"a": 1}}\n{{"a": {deep}}}\n{{"a": 3}}\n'))
    assert len(events) == 2
    assert reject.reason == "malformed JSON"
    read(write("b.json", f'[{{"a": {deep}}}]'))


def test_csv_with_a_quote_that_never_closes(write, read):
    rows = 'a,b,c\n1,2,3\n4,"5,6\n' + "7,8,9\n" * 60_000
    events, rejects = read(write("a.csv", rows), max_record_bytes=200_000)
    assert events[0].text == '{"a":"1","b":"2","c":"3"}'
    assert rejects[0].reason.startswith("malformed CSV")
    assert len(events) > 1000


def test_a_clock_in_the_future(write, read):
    (event,), _ = read(write("a.json", '{"time": "2999-01-01T00:00:00Z", "x": 1}'))
    assert event.timestamp.year == 2999


def test_events_of_the_future_are_kept_and_counted(write, tmp_path):
    lines = ['{"time": "2999-01-01T00:00:00Z", "x": 1}', '{"time": "2020-01-01T00:00:00Z", "x": 2}']
    path = write("a.json", "\n".join(lines) + "\n")
    facts = survey([path])
    assert facts["events"] == 2 and facts["rejects"] == {} and facts["doubts"] == {"time in the future": 1}
    (example,) = facts["examples"]["time in the future"]
    assert (example["file"], example["offset"]) == (str(path), 0)
    built = build([path], tmp_path / "corpus", workers=1).metrics
    assert built["doubts"] == facts["doubts"] and built["events"] == 2


def test_an_archive_without_times_leaves_the_year_to_the_file(write, read):
    line = b"Mar  3 12:00:01 web sshd[7]: hello\n"
    tar, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("a.log")
        entry.size = len(line)
        archive.addfile(entry, io.BytesIO(line))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.log"), line)
    moment = datetime(2021, 6, 1, tzinfo=UTC).timestamp()
    for name, content in (("a.tar", tar), ("a.zip", packed)):
        path = write(name, content.getvalue())
        os.utime(path, (moment, moment))
        (event,), _ = read(path)
        assert event.timestamp == datetime(2021, 3, 3, 12, 0, 1, tzinfo=UTC)


def test_an_epoch_of_any_size(write, read):
    values = [0, -1, 10**18, 10**30, 1e300, 253402300800, "9" * 60, True, None, [], {}]
    events, rejects = read(write("a.json", [json.dumps({"time": value, "x": 1}) for value in values]))
    assert len(events) == len(values)
    assert rejects == []


SEEDS = [DATA[:300], zipped(("a.json", DATA[:300])), gzip.compress(DATA[:300]), tarred(("a", DATA[:300])),
         b"#separator \\x09\n#fields\ta\tb\n#types\ttime\tset[count]\n1.0\t1,2\n", b"a,b\n1,\"2\n3\"\n",
         b"type=A msg=audit(1.2:3): x=y\n", b"<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'></Event>",
         b"#Fields: date time c-ip\n2020-01-01 00:00:00 1\n", b'[{"a": 1}, {"b": [1, 2]}]', b"ElfFile\0" + bytes(4200),
         b"<13>Jan  1 00:00:00 h p: CEF:0|a|b|c|d|e|f|k=v\n", struct.pack("<I", 0xFD2FB528) + bytes(30)]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6)), max_size=6))
def test_no_mutated_input_crashes_a_reader(tmp_path_factory, seed, edits):
    data = bytearray(seed)
    for place, piece in edits:
        place %= len(data) + 1
        data[place : place + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data)
    records = list(read_events([str(path)], CorpusConfig(max_record_bytes=1000)))
    assert records
    for record in records:
        record.file.encode()
        if isinstance(record, Event):
            record.text.encode()


def test_a_line_of_nul_bytes_is_a_counted_reject_and_nul_within_a_line_stays(tmp_path):
    path = tmp_path / "crashed.log"
    path.write_bytes(b"first line of text\n" * 200 + bytes(100) + b"\nuser=\x00root opened a session\n")
    found = list(read_events([str(path)]))
    rejects = [one for one in found if isinstance(one, Reject)]
    assert [(one.reason, one.offset) for one in rejects] == [("NUL bytes only", 3800)]
    texts = [one.text for one in found if isinstance(one, Event)]
    assert texts == ["first line of text"] * 200 + ["user=\x00root opened a session"]


def test_a_file_whose_reading_fails_is_a_reject(tmp_path):
    # A folder opens, and its first read fails with an error of the system, as a bad disk does.
    now = datetime(2024, 1, 1, tzinfo=UTC)
    for path, reason in ((tmp_path, "cannot be read (Is a directory)"), (tmp_path / "gone", "cannot be read (No such")):
        (part,) = read_input(Input(path, "name", "s", 0, now), CorpusConfig())
        (reject,) = part.records
        assert reject.reason.startswith(reason)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_and_a_locked_folder_are_rejects(write, read, tmp_path):
    write("good.log", "hello\n")
    write("locked.log", "hidden\n").chmod(0)
    write("folder/x.log", "hidden\n").parent.chmod(0)
    try:
        events, rejects = read(tmp_path / "logs")
    finally:
        (tmp_path / "logs/folder").chmod(0o700)
    assert [one.text for one in events] == ["hello"]
    assert [one.reason for one in rejects] == ["cannot be read (Permission denied)"] * 2


@pytest.mark.parametrize("size", [100_000, 500_000])
def test_a_full_disk_ends_a_build_with_one_line_and_leaves_nothing(write, tmp_path, size):
    write("a.log", [f"{n} {random.Random(n).randbytes(64).hex()}" for n in range(20_000)])

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    program = "import sys; from logfm.cli import run; run()"
    command = [sys.executable, "-c", program, "corpus", "build", str(tmp_path / "logs"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_disk, check=False, timeout=120)
    assert done.returncode in (1, 2)
    (line,) = [line for line in done.stderr.splitlines() if "rror" in line]
    assert line.startswith("error: ") and "written" in line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_full_temporary_folder_is_a_reject(write, read, monkeypatch):
    # The only write of a reader: what needs to jump in a file is spooled, on the disk from 64 MiB on.
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", lambda **_: Full())
    path = write("a.tar", tarred(("in.zip", zipped(("a.log", b"x\n"))), ("good.log", b"hello\n")))
    events, rejects = read(path, max_nesting=3)
    assert [one.text for one in events] == ["hello"]
    assert ["No space left" in reason for reason in reasons(rejects)] == [True]


def test_a_panic_of_the_evtx_parser_is_a_reject(write, read, monkeypatch):
    class PanicException(BaseException):
        """As PyO3 raises it: not an Exception."""

    def records():
        yield {"event_record_id": 1, "data": '{"Event": {"System": {"Computer": "pc1"}}}'}
        raise PanicException("index out of bounds")

    monkeypatch.setattr("evtx.PyEvtxParser", lambda *_, **__: SimpleNamespace(records_json=records))
    events, rejects = read(write("a.evtx", b"ElfFile\0" + bytes(4088)), write("b.log", "hello\n"))
    assert [one.text for one in events] == ['{"Event": {"System": {"Computer": "pc1"}}}', "hello"]
    assert reasons(rejects) == ["damaged EVTX record (index out of bounds)"]


def test_an_interrupt_within_the_evtx_parser_is_no_fault_of_the_file(write, read, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("evtx.PyEvtxParser", stopped)
    with pytest.raises(KeyboardInterrupt):
        read(write("a.evtx", b"ElfFile\0" + bytes(5000)))


def test_a_corrupt_evtx_gives_the_records_that_are_whole(shared_data, write, read):
    raw = bytearray((shared_data / "evtx_attack_samples/raw_examples/exec_msxsl_xsl_sysmon_1_7.evtx").read_bytes())
    places = [at for at in range(4096 + 512, len(raw)) if raw[at : at + 4] == b"\x2a\x2a\0\0"]
    raw[places[1] + 24 : places[1] + 400] = b"\xff" * 376
    events, rejects = read(write("a.evtx", bytes(raw)))
    assert len(events) < 3
    assert any("damaged" in reason for reason in reasons(rejects))


def test_a_cut_evtx_gives_its_whole_records_and_nothing_else(shared_data, write, read):
    path = shared_data / "evtx_attack_samples/raw_examples/CA_DCSync_4662.evtx"
    raw, (whole, _) = path.read_bytes(), read(path)
    ends = [one.offset + int.from_bytes(raw[one.offset + 4 : one.offset + 8], "little") for one in whole]
    for cut in (*ends, ends[0] - 1, ends[1] + 20, ends[1] + 300, ends[-1] - 200, len(raw) - 1):
        events, rejects = read(write("a.evtx", raw[:cut]))
        assert [one.text for one in events] == [one.text for one, end in zip(whole, ends, strict=True) if end <= cut]
        assert "truncated EVTX file: the last chunk is cut" in reasons(rejects)


def test_files_of_several_encodings_in_one_run(write, read, tmp_path):
    for name, encoding in (("a", "utf-8-sig"), ("b", "utf-16"), ("c", "utf-16-be"), ("d", "latin-1"), ("e", "utf-8")):
        write(f"{name}.log", "café opened\nand closed\n".encode(encoding))
    events, rejects = read(tmp_path / "logs")
    assert rejects == []
    assert [one.text for one in events if one.text != "and closed"] == [
        "café opened", "café opened", "café opened", "caf\\xe9 opened", "café opened",
    ]  # fmt: skip


def test_utf16_that_ends_in_the_middle_of_a_character(write, read):
    events, rejects = read(write("a.log", "first line\nsecond".encode("utf-16")[:-1]))
    assert [one.text.partition("\\")[0] for one in events] == ["first line", "secon"]
    assert rejects == []


def test_a_file_from_the_future_gives_its_times_a_year_that_can_be(write, read):
    path = write("a.log", ["Jun 14 15:16:01 h sshd[1]: a"])
    os.utime(path, (4e10, 4e10))
    (event,), rejects = read(path)
    assert (event.timestamp.month, event.timestamp.day, rejects) == (6, 14, [])


def test_a_zip_whose_sizes_lie(write, read):
    packed = bytearray(zipped(("a.log", b"hello\n" * 100), ("b.log", b"hi\n")))
    for at in (18, 22):
        packed[at : at + 4] = b"\xff\xff\xff\x7f"
    directory = packed.index(b"PK\x01\x02")
    for at in (20, 24):
        packed[directory + at : directory + at + 4] = b"\xff\xff\xff\x7f"
    events, rejects = read(write("a.zip", bytes(packed)))
    # Deflate says itself where it ends.
    assert [one.text for one in events] == ["hello"] * 100 + ["hi"]
    assert rejects == []
