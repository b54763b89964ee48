"""Real logs, where they are at hand; each skips with a reason where they are not."""

import csv
import zipfile

import orjson
import pytest


@pytest.mark.parametrize(
    ("system", "form"),
    [("Android", "android"), ("Apache", "apache_error"), ("BGL", "bgl"), ("HDFS", "hdfs"), ("HPC", "hpc"),
     ("Hadoop", "log4j"), ("HealthApp", "healthapp"), ("Linux", "syslog_3164"), ("Spark", "log4j_short"),
     ("Thunderbird", "thunderbird"), ("Windows", "windows_cbs"), ("Zookeeper", "log4j")],
)  # fmt: skip
def test_loghub_lines_are_one_event_each_with_a_time(shared_data, read, system, form):
    from logfm.corpus.survey import survey

    path = shared_data / f"loghub_2k/{system}/{system}_2k.log"
    events, rejects = read(path)
    raw = path.read_bytes()
    assert rejects == []
    assert [one.text for one in events] == raw.decode().splitlines()
    assert all(raw[one.offset :].startswith(one.text.encode()) for one in events)
    (file,) = survey([str(path)])["files"]
    assert (file["format"], file["timestamped"]) == (form, 1.0)


def test_an_otrf_archive_gives_the_events_that_its_label_counts(shared_data, read):
    folder = shared_data / "otrf_security_datasets"
    with (folder / "labels.csv").open(newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["inner_file"].startswith("psh_cmstp_execution"))
    path = folder / row["archive"]
    events, rejects = read(path)
    assert rejects == []
    assert len(events) == int(row["events"])
    assert {one.source for one in events} == {"windows"}
    assert all(one.timestamp and one.host and one.log_type for one in events)
    with zipfile.ZipFile(path) as archive:
        raw = archive.read(row["inner_file"])
    assert all(orjson.loads(raw[one.offset :].split(b"\n", 1)[0]) == orjson.loads(one.text) for one in events)


def test_all_evtx_samples_are_read(shared_data, read):
    folder = shared_data / "evtx_attack_samples"
    events, rejects = read(*folder.glob("*.zip"))
    assert rejects == []
    assert len({one.file for one in events}) == 275
    assert len(events) == 8245
    assert all(one.timestamp and one.host and one.log_type for one in events)
    assert len({one.event_id for one in events}) == len(events)


def test_zeek_tsv_and_json_of_the_same_traffic_agree(shared_data, read):
    folder = shared_data / "zeek_wrccdc"
    table, _ = read(folder / "zeek-default/ssh.log.gz")
    lines, _ = read(folder / "zeek-json/ssh.json.gz")
    assert len(table) == len(lines) > 0

    def key(event):
        record = orjson.loads(event.text)
        return record["uid"], record["id.orig_h"], record["id.resp_p"], record.get("client"), event.timestamp

    assert sorted(map(key, table), key=str) == sorted(map(key, lines), key=str)
    assert {(one.source, one.log_type) for one in table + lines} == {("zeek", "ssh")}
