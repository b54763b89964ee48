"""Reading, capping, hashing and finding data sets."""

import json

import numpy as np
import pytest

from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError
from logfm.evaluation.data.find import at_hand, data_folder, place_of, spec_of, specs
from logfm.evaluation.data.load import load
from logfm.evaluation.data.readers import READERS, reader

CHOICES = {"loghub-linux", "loghub-android", "loghub-bgl", "loghub-hadoop"}


def own(**given):
    fields = {"name": "own", "title": "t", "source": "s", "licence": "l", "tasks": ["search"], "split": "s",
              "leakage": "l", "path": "own.jsonl", "reader": "jsonl"}  # fmt: skip
    return DataSpec(**(fields | given))


def write(folder, *rows):
    (folder / "own.jsonl").write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))


def test_specs_are_valid_and_only_four_systems_are_for_choices():
    assert len(specs()) > 30
    loghub = {name for name in specs() if name.startswith("loghub-") and "mixed" not in name}
    assert len(loghub) == 12
    assert {name for name in loghub if specs()[name].role == "choices"} == CHOICES
    assert specs()["loghub-mixed"].role == "choices"
    eight = set(specs()["loghub-mixed-results"].options["parts"])
    assert specs()["loghub-mixed-results"].role == "results" and len(eight) == 8 and not eight & CHOICES
    assert set(specs()["loghub-mixed-choices"].options["parts"]) == CHOICES
    assert all(spec.reader in READERS and spec.split and spec.leakage and spec.licence for spec in specs().values())


def test_loghub_lines_keep_their_templates(folder):
    data = load(specs()["loghub-linux"], folder)
    assert data.texts[4] == "2015-10-18 18:01:04,978 INFO [main] a.B: closed file 4"
    assert data.templates[:4] == ["E0", "E1", "E2", "E0"] and data.labels is None
    assert set(data.records[0]) == {"Time", "Content"}
    assert np.diff(data.times[:3]).tolist() == [1.0, 1.0]


def test_a_mixture_names_templates_by_their_part(folder):
    data = load(specs()["loghub-mixed"], folder)
    assert len(data.texts) == 12 * 40 and data.labels is None
    assert set(data.sources) == set(specs()["loghub-mixed"].options["parts"])
    assert len(set(data.templates)) == 36
    assert len(load(specs()["loghub-mixed"], folder, 120).texts) == 120
    assert not any("KERNDTLB" in text for text in data.texts)


def test_a_mixture_of_what_is_at_hand(folder, tmp_path):
    (tmp_path / "loghub_2k").mkdir()
    for system in ("Linux", "Spark"):
        (tmp_path / "loghub_2k" / system).symlink_to(folder / "loghub_2k" / system)
    data = load(specs()["loghub-mixed"], tmp_path)
    assert len(data.texts) == 80 and data.left_out["loghub-bgl is not at hand"] == 1
    assert data.hash != load(specs()["loghub-mixed"], folder).hash
    assert "loghub-mixed" in at_hand(tmp_path) and "loghub-mixed-choices" not in at_hand(tmp_path)


def test_equal_alerts_of_a_period_are_one(folder):
    data = load(specs()["ait-alerts"], folder)
    assert len(data.texts) == 80 and data.left_out == {"equal to another within 60 s": 2}
    assert set(data.groups) == {"fox", "shaw"} and set(data.classes) == {"", "dirb"}


def test_sequences_are_in_order_of_their_names(folder):
    data = load(specs()["sequences-hadoop"], folder)
    assert data.groups == sorted(data.groups) and "app_9/c_1" not in data.groups
    assert data.left_out == {"number without a template": 4}
    assert data.texts[:3] == ["Created <*>", "Lost <*> of <*>, again", "Closed <*>"]
    assert dict(zip(data.groups, data.classes, strict=True))["app_1/c_1"] == "disk_full"


def test_descriptions_are_queries_of_positives_alone(folder):
    data = load(specs()["meaning-panther"], folder)
    assert all(bool(query) == bool(label) for query, label in zip(data.queries, data.labels, strict=True))
    assert data.left_out["not JSON"] == 1 and data.left_out["no log event (a policy on resources)"] == 1
    assert len(load(specs()["meaning-sigma"], folder).texts) == 9


@pytest.mark.parametrize("cap", ["head", "random", "groups"])
def test_caps(cap, folder):
    spec = specs()["hdfs-blocks"].model_copy(update={"cap": cap})
    data, again = load(spec, folder, 15), load(spec, folder, 15)
    assert data.texts == again.texts and data.hash == again.hash != load(spec, folder).hash
    whole = load(spec, folder)
    places = [whole.texts.index(text) for text in data.texts]
    assert places == sorted(places)
    if cap == "head":
        assert places == list(range(15)) and data.left_out == {"or more behind the first 15": 1}
    elif cap == "random":
        assert len(places) == 15 and places != list(range(15))
    else:
        assert len(places) == 15 and all(data.groups.count(group) == 5 for group in data.groups)


def test_own_json_lines(tmp_path):
    bad, good = {"msg": "a", "verdict": "bad", "in": {"verdict": "bad"}}, {"msg": "b", "verdict": "good"}
    write(tmp_path, bad, good, "{", {"msg": "c", "verdict": "?"})
    spec = own(options={"label": "verdict", "anomalous": "bad", "normal": ["good"]})
    data = load(spec, tmp_path)
    assert data.texts == ['{"msg":"a","in":{}}', '{"msg":"b"}'] and data.labels.tolist() == [1, 0]
    assert data.left_out == {"not JSON": 1, "label that is neither normal nor anomalous": 1}
    assert load(own(options={"text": "msg"}), tmp_path).texts == ["a", "b", "c"]


def test_a_misspelt_field_to_drop_is_refused(tmp_path):
    write(tmp_path, {"msg": "a", "verdict": "bad"})
    assert load(own(drop=["Verdict"]), tmp_path).texts == ['{"msg":"a"}']
    with pytest.raises(UserError, match="to drop"):
        load(own(drop=["verdikt"]), tmp_path)
    both = own(drop=["verdict"], options={"text": "msg"})
    write(tmp_path, {"msg": {"verdict": "bad", "said": "a"}})
    assert load(both, tmp_path).texts == ['{"said":"a"}']


def test_a_misspelt_field_to_drop_is_refused_where_the_file_is_not_read_to_its_end(tmp_path):
    write(tmp_path, *({"msg": n, "verdict": "bad"} for n in range(5)), {"msg": 5, "late": 1})
    assert load(own(drop=["verdict"], cap="head"), tmp_path, 2).texts == ['{"msg":0}', '{"msg":1}']
    assert len(load(own(drop=["late"], cap="head"), tmp_path, 2).texts) == 2
    for most in (2, 5, 6):
        with pytest.raises(UserError, match="to drop is in no record: verdikt"):
            load(own(drop=["verdict", "Verdikt"], cap="head"), tmp_path, most)


def test_a_misspelt_field_to_drop_is_refused_in_files_of_any_format(tmp_path):
    write(tmp_path, *({"message": f"m{n}", "host": "h", "inner": {"Verdict": "bad"}} for n in range(3)))
    events = own(reader="events", drop=["verdict"])
    assert not any("bad" in text for text in load(events, tmp_path).texts)
    for cap in ("head", "random"):
        with pytest.raises(UserError, match="to drop is in no record: verdikt"):
            load(own(reader="events", drop=["verdikt"], cap=cap), tmp_path, 2)


def test_a_first_group_that_is_too_large_is_cut(tmp_path):
    write(tmp_path, *({"msg": n, "who": "abcdefgh"[n // 5]} for n in range(40)))
    spec = own(cap="groups", options={"group": "who"})
    (drawn,) = set(load(spec, tmp_path, 5).groups)
    assert drawn != "a"
    cut = load(spec, tmp_path, 3)
    assert cut.groups == [drawn] * 3 and cut.left_out == {"above the cap of 3": 37}


@pytest.mark.parametrize("name", ["loghub-linux", "bgl-full", "hdfs-blocks", "sequences-hdfs", "service-auth",
                                  "meaning-wazuh", "meaning-products", "events-web", "loghub-mixed",
                                  "meaning-sigma", "panther-alerts", "ait-alerts"])  # fmt: skip
def test_what_cannot_be_dropped_is_refused(name, folder):
    spec = specs()[name]
    changed = spec.model_copy(update={"drop": (*spec.drop, "severity")})
    with pytest.raises(UserError, match=r"severity|to drop"):
        load(changed, folder)


def test_a_set_of_ones_own_is_a_yaml_file_alone(tmp_path):
    write(tmp_path, {"when": "2025-03-03 10:00:05", "line": "x", "who": "h"})
    path = tmp_path / "mine.yaml"
    options = "{text: line, time: when, group: who}"
    path.write_text(
        "name: mine\ntitle: t\nsource: s\nlicence: l\ntasks: [search]\npath: own.jsonl\nreader: jsonl\n"
        f"split: s\nleakage: l\noptions: {options}\n"
    )
    data = load(spec_of(path), tmp_path)
    assert (data.texts, data.groups, data.times.tolist()) == (["x"], ["h"], [1740996005.0])
    path.write_text(path.read_text() + "rows: 3\n")
    with pytest.raises(UserError, match="rows"):
        spec_of(path)


def test_tables_and_files_of_any_format(tmp_path, folder):
    (tmp_path / "own.csv").write_text("line,verdict\nfirst,1\nsecond,0\n")
    data = load(own(path="own.csv", reader="csv", options={"text": "line", "label": "verdict"}), tmp_path)
    assert (data.texts, data.labels.tolist()) == (["first", "second"], [1, 0])
    assert data.records == [{"line": "first"}, {"line": "second"}]
    web = load(specs()["events-web"], folder)
    assert len(web.texts) == 40 and web.texts[0].startswith("10.0.0.0 - - [19/May/2015") and web.labels is None
    plain = own(path="own.csv", reader="lines", options={"templates": "drain"})
    assert load(plain, tmp_path).texts == ["line,verdict", "first,1", "second,0"]
    assert len(load(plain, tmp_path).templates) == 3


def test_a_misspelt_option_is_refused(tmp_path):
    write(tmp_path, {"msg": "a", "verdict": "bad"})
    with pytest.raises(UserError, match="Did you mean label"):
        load(own(options={"lable": "verdict"}), tmp_path)


def test_records_without_a_label_are_left_out(tmp_path):
    write(tmp_path, {"msg": "a", "bad": True}, {"msg": "b", "bad": False}, {"msg": "c"}, {"bad": None})
    data = load(own(options={"label": "bad"}), tmp_path)
    assert (data.texts, data.labels.tolist()) == (['{"msg":"a"}', '{"msg":"b"}'], [1, 0])
    assert data.left_out == {"no label": 2}


def test_hostile_records(tmp_path):
    deep = "[" * 500 + '{"verdict":1}' + "]" * 500
    write(
        tmp_path,
        f'{{"msg":"a","deep":{deep},"verdict":2}}',
        '{"msg":"\\u0000","n":1e999}',
        '{"n":123456789012345678901234}',
    )
    data = load(own(drop=["verdict"]), tmp_path)
    assert not any("verdict" in text for text in data.texts) and "null" in data.texts[0]
    (tmp_path / "own.jsonl").write_bytes(b'{"a":"\xff\xfe"}\r\n' + b"\x00\n")
    assert load(own(), tmp_path).left_out == {"not JSON": 1}


def test_the_hash_follows_content_and_spec(tmp_path):
    write(tmp_path, {"msg": "a"})
    first = load(own(), tmp_path).hash
    assert load(own(), tmp_path).hash == first != load(own(title="u"), tmp_path).hash
    write(tmp_path, {"msg": "b"})
    assert load(own(), tmp_path).hash != first


def test_what_is_not_at_hand(tmp_path, monkeypatch):
    assert set(at_hand(tmp_path)) == {"simulated", "simulated-lines"} == set(at_hand(None))
    with pytest.raises(UserError, match="not at hand"):
        load(specs()["loghub-linux"], tmp_path)
    write(tmp_path)
    with pytest.raises(UserError, match="no events"):
        load(own(), tmp_path)
    with pytest.raises(UserError, match="Did you mean loghub-linux"):
        spec_of("loghub-linus")
    with pytest.raises(UserError, match="below the data folder"):
        place_of(own(path="../x"), tmp_path)
    with pytest.raises(UserError, match="no such reader"):
        reader("lins")
    monkeypatch.setenv("LOGFM_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    with pytest.raises(UserError, match="no such data folder"):
        data_folder(tmp_path / "none")


def test_damaged_files(tmp_path, folder):
    (tmp_path / "own.jsonl.gz").write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(UserError, match="cannot read"):
        load(own(path="own.jsonl.gz"), tmp_path)
    place = tmp_path / "loghub_2k" / "Linux"
    place.mkdir(parents=True)
    (place / "Linux_2k.log").write_text("one\ntwo\n")
    (place / "Linux_2k.log_structured_corrected.csv").write_text("LineId,EventId\n1,E1\n")
    with pytest.raises(UserError, match="2 lines, but 1 rows"):
        load(specs()["loghub-linux"], tmp_path)
    (place / "Linux_2k.log_structured_corrected.csv").write_text("LineId\n1\n")
    with pytest.raises(UserError, match="no column EventId"):
        load(specs()["loghub-linux"], tmp_path)
