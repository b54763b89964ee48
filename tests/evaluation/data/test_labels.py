"""No label reaches an encoder: what it may see stays the same when every label in the files is flipped."""

import shutil

import numpy as np
import orjson
import pytest

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.data.find import at_hand, specs
from logfm.evaluation.data.load import load

LABELLED = (
    "ait-alerts", "ait-windows", "bgl-full", "hdfs-blocks", "hdfs-full", "loghub-bgl", "loghub-thunderbird",
    "panther-alerts", "sequences-hadoop", "sequences-hdfs", "sequences-openstack", "sequences-openstack-kalaki",
    "service-auth", "thunderbird-full",
)  # fmt: skip


def test_every_labelled_set_is_proved_here(folder):
    labelled = {name for name, spec in at_hand(folder).items() if load(spec, folder).labels is not None}
    assert labelled - {"simulated", "simulated-lines", "meaning-panther"} == set(LABELLED)
    assert {name for name in specs() if "events-" not in name} <= set(at_hand(folder))


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("rows", [None, 12])
def test_texts_do_not_depend_on_labels(name, rows, folder, flipped):
    one, other = (load(specs()[name], place, rows) for place in (folder, flipped))
    assert one.labels is not None and other.labels is not None
    assert (one.labels == 1 - other.labels).all() and (rows or 0 < one.labels.sum() < len(one.labels))
    assert one.texts == other.texts
    assert one.records == other.records
    assert one.templates == other.templates and one.groups == other.groups and one.sources == other.sources
    assert one.hash != other.hash


def test_the_flip_is_in_the_files(folder, flipped):
    for path in ("loghub_2k/BGL/BGL_2k.log", "BGL/BGL.log", "rule_labelled_logs/panther_rule_tests.jsonl.gz"):
        assert (folder / path).read_bytes() != (flipped / path).read_bytes()


@pytest.mark.parametrize("name", ["loghub-bgl", "loghub-thunderbird", "bgl-full", "thunderbird-full"])
def test_a_first_word_is_no_label(name, folder):
    data = load(specs()[name], folder)
    assert all(text[:10].isdigit() and "KERNDTLB" not in text for text in data.texts)
    # The best rule on the first three characters does no better than the majority.
    heads = np.array([text[:3] for text in data.texts])
    right = sum(max(np.bincount(data.labels[heads == head], minlength=2)) for head in np.unique(heads))
    assert right == max(np.bincount(data.labels))


def test_a_label_inside_the_raw_event_goes_too(tmp_path):
    raw = [orjson.dumps({"msg": f"user {row}", "verdict": ("bad", "fine")[row % 2]}).decode() for row in range(6)]
    lines = [orjson.dumps({"raw": text, "verdict": ("bad", "fine")[row % 2]}) for row, text in enumerate(raw)]
    (tmp_path / "mine.jsonl").write_bytes(b"\n".join(lines))
    options = {"text": "raw", "label": "verdict", "anomalous": ["bad"]}
    told = dict.fromkeys(("title", "source", "licence", "split", "leakage"), "none")
    settings = told | {"name": "mine", "tasks": ["anomaly"], "path": "mine.jsonl", "reader": "jsonl"}
    settings |= {"options": options, "drop": ["verdict"]}
    data = load(DataSpec.model_validate(settings), tmp_path)
    assert data.labels.sum() == 3 and not any("verdict" in text for text in data.texts)


def test_rules_are_part_of_the_data(folder, tmp_path):
    spec = specs()["panther-alerts"]
    shutil.copytree(folder / "rule_labelled_logs", tmp_path / "rule_labelled_logs")
    before = load(spec, tmp_path).hash
    (tmp_path / "sigma").mkdir()
    (tmp_path / spec.options["rules"]).write_bytes(b"rules")
    assert load(spec, tmp_path).hash != before


def test_fields_to_drop_are_in_no_event(folder):
    data = load(specs()["panther-alerts"], folder)
    assert all(set(orjson.loads(text)) == {"eventName", "user"} for text in data.texts)
    assert all(set(orjson.loads(text)["user"]) == {"name"} for text in data.texts)
    alerts = load(specs()["ait-alerts"], folder)
    assert {"time_label", "event_label"} <= set(alerts.spec.drop)
    assert all({"name", "ip", "host"} == set(orjson.loads(text)) - {"time"} for text in alerts.texts)
    sigma = load(specs()["meaning-sigma"], folder)
    assert not any("technique" in text or "RuleName" in text for text in sigma.texts)


def test_simulated_truth_is_not_in_the_text():
    data = load(specs()["simulated"], rows=1500)
    assert 0 < data.labels.sum() < len(data.labels)
    scenarios = {kind for kind in data.classes if kind}
    assert scenarios and not any(kind in text for text in data.texts for kind in scenarios)
