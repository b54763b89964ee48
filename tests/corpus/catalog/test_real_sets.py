"""Readers on real files, where they are at hand."""

import csv
import re
from collections import Counter

import orjson
import pytest

from logfm.corpus.catalog import read_dataset
from logfm.corpus.events import Event


def events_of(name, path):
    found = [one for one in read_dataset(name, path) if isinstance(one, Event)]
    assert found
    return found


@pytest.mark.parametrize(("system", "normal", "alerts"), [("BGL", 1857, 143), ("Thunderbird", 2000, 0)])
def test_loghub_tags_leave_the_text(shared_data, system, normal, alerts):
    folder = shared_data / "loghub_2k" / system
    events = events_of("loghub", folder)
    raw = (folder / f"{system}_2k.log").read_text().splitlines()
    assert len(events) == 2000
    assert [one.text for one in events] == [line.partition(" ")[2] for line in raw]
    assert all("label" not in orjson.loads(one.fields) for one in events)
    counts = Counter(one.label for one in events)
    assert counts["normal"] == normal and counts.total() - normal == alerts
    assert all(one.label == tag for one, line in zip(events, raw, strict=True) if (tag := line.split()[0]) != "-")


def test_loghub_systems_without_labels_stay_as_they_are(shared_data):
    path = shared_data / "loghub_2k/Linux"
    events = events_of("loghub", path)
    assert [one.text for one in events] == (path / "Linux_2k.log").read_text().splitlines()
    assert {one.label for one in events} == {None}


def test_excerpts_of_bgl_are_all_normal(shared_data):
    events = events_of("loghub", shared_data / "log_excerpts/BGL_5000.log.gz")
    assert len(events) == 5001 and {one.label for one in events} == {"normal"}
    assert all(re.match(r"\d{10} ", one.text) for one in events)


@pytest.mark.slow
def test_hdfs_lines_get_the_label_of_their_block(shared_data):
    folder = shared_data / "hdfs_raw_sample"
    with (folder / "anomaly_label.csv").open(newline="") as stream:
        truth = {row["BlockId"]: row["Label"].lower() for row in csv.DictReader(stream)}
    labels = {one.session_id: one.label for one in read_dataset("loghub", folder) if isinstance(one, Event)}
    found = {block: label for block, label in labels.items() if block in truth}
    assert len(found) == 8649 and Counter(found.values())["anomaly"] == 264
    assert all(truth[block] == label for block, label in found.items())


@pytest.mark.slow
def test_ait_alerts_give_up_their_labels(shared_data):
    path = shared_data / "ait_alerts/russellmitchell_alerts.csv.gz"
    labels = Counter()
    for one in read_dataset("ait_ads", path):
        assert isinstance(one, Event)
        assert orjson.loads(one.text).keys() <= {"time", "name", "ip", "host"}
        labels[one.label] += 1
    import gzip

    with gzip.open(path, "rt", newline="") as stream:
        truth = Counter(row["event_label"] for row in csv.DictReader(stream))
    truth["normal"] = truth.pop("-")
    assert labels == truth


def test_otrf_metadata_agree_with_the_table_of_labels(shared_data):
    folder = shared_data / "otrf_security_datasets"
    with (folder / "labels.csv").open(newline="") as stream:
        rows = {row["archive"]: row for row in csv.DictReader(stream)}
    from logfm.corpus.catalog.copies import Copy
    from logfm.corpus.catalog.readers.captures import _otrf_captures

    captures = _otrf_captures(Copy(folder))
    compared = 0
    for archive, row in rows.items():
        if row["label_source"] == "origin metadata" and not row["label_note"] and not archive.startswith("compound"):
            identity, techniques = captures[archive.rsplit("/", 1)[-1]]
            assert set(techniques or []) == set(filter(None, row["techniques"].split(";"))), archive
            compared += 1
            assert identity
    assert compared > 50


def test_an_otrf_archive_is_labelled(shared_data, tmp_path):
    source = shared_data / "otrf_security_datasets"
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "_metadata").symlink_to(source / "metadata")
    archive = next((source / "windows").rglob("psh_mshta_html_application_execution.zip"))
    (copy / archive.name).symlink_to(archive)
    events = events_of("otrf", copy / archive.name)
    assert {one.label for one in events} == {None}  # the metadata lie in a folder that was not given
    (copy / "SDWIN.yaml").symlink_to(source / "metadata/SDWIN-201022035214.yaml")
    events = events_of("otrf", copy / archive.name)
    assert {(one.label, tuple(one.techniques)) for one in events} == {("SDWIN-201022035214", ("T1218.005",))}


def test_evtx_samples_agree_with_the_table_of_labels(shared_data):
    folder = shared_data / "evtx_attack_samples"
    path = folder / "credential_access.zip"
    with (folder / "labels.csv").open(newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream) if row["archive"] == path.name}
    events = events_of("evtx_attack_samples", path)
    assert len(events) == sum(int(row["records"]) for row in rows.values())
    assert {one.label for one in events} == {"credential_access"}
    for one in events:
        row = rows[one.file.split("!", 1)[1]]
        assert set(one.techniques or []) == set(filter(None, row["technique_ids_in_name"].split(";")))


@pytest.mark.slow
def test_splunk_archives_get_the_technique_of_their_name(shared_data):
    folder = shared_data / "splunk_attack_data"
    with (folder / "labels.csv").open(newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    counts = Counter()
    for one in events_of("splunk_attack_data", folder):
        name = one.file.split("!", 1)[0].rsplit("/", 1)[-1]
        counts[name, *one.techniques] += 1
    assert counts == {(name, row["technique_ids"]): int(row["events"]) for name, row in rows.items()}


def test_zeek_samples_are_read_and_notices_are_no_documents(shared_data):
    for name in ("zeek-json/notice.json.gz", "zeek-default/notice.log.gz"):
        events = events_of("zeek_samples", shared_data / "zeek_wrccdc" / name)
        assert {(one.source, one.log_type, one.label) for one in events} == {("zeek", "notice", None)}
