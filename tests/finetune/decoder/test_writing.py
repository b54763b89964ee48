import json
import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs import recipes
from logfm.configs.schema.cases import WritingConfig
from logfm.corpus.events import Event
from logfm.errors import UserError
from logfm.finetune.decoder.fields import FieldsSpec, load_fields
from logfm.finetune.decoder.selecting import flattened, select, shorten, values_of
from logfm.finetune.decoder.writing import write
from tests.finetune.decoder.logs import START, SYSMON, event, windows

SPECS = load_fields(WritingConfig().fields)


def written(events, tokens=700, hide=None, **more):
    return write(events, SPECS, WritingConfig(tokens=tokens, **more), hide, lambda text: len(text.split()), 0)


def created(command, **columns):
    return event(windows(1, 0, Image="C:\\Windows\\System32\\cmd.exe", CommandLine=command), **columns)


def test_every_field_selection_that_ships_is_one():
    names = [name for name in recipes() if name.startswith("finetune/fields/")]
    assert set(WritingConfig().fields) == set(names)
    assert len(load_fields(WritingConfig().fields)) == len(names)


def test_a_windows_event_in_one_line():
    found = written([created("cmd /c whoami", user="LAB\\ada")])
    assert found.text == "process start cmd.exe cmd=cmd /c whoami"
    assert found.left_out == 0


def test_the_collector_makes_no_difference():
    flat = windows(1, 0, Image="C:\\x\\a.exe", CommandLine="a.exe -b")
    nested = {
        "Event": {
            "System": {"EventID": 1, "Channel": SYSMON, "Computer": "WS5.lab.example"},
            "EventData": {"Image": "C:\\x\\a.exe", "CommandLine": "a.exe -b"},
        }
    }
    beat = {"winlog": {"channel": SYSMON, "event_id": 1, "event_data": nested["Event"]["EventData"]}}
    texts = {written([event(record)]).text for record in (flat, nested, beat)}
    assert texts == {"process start a.exe cmd=a.exe -b"}


def test_seconds_and_hosts_are_written_where_they_tell_something():
    later = START + timedelta(seconds=75)
    events = [created("a"), created("b", timestamp=later), created("c", timestamp=later, host="DC1.lab.example")]
    assert written(events[:2]).text.splitlines()[1].startswith("+75s process start")
    assert [line.split(" ")[0] for line in written(events).text.splitlines()] == ["HOST1", "+75s", "HOST2"]
    assert "+75s" not in written(events, times="none").text


def test_repeats_are_written_once_with_their_number():
    assert written([created("a")] * 3 + [created("b")]).text.splitlines()[0].endswith("cmd=a x3")
    assert len(written([created("a")] * 3, repeats=False).text.splitlines()) == 3


def test_what_gives_the_label_away_is_hidden():
    hide = re.compile("stratus-[a-z-]+", re.IGNORECASE)
    assert written([created("aws STRATUS-red-team-x go")], hide=hide).text.endswith("cmd=aws X go")


def test_long_events_are_cut_evenly_and_counted():
    events = [created(f"{letter} " * 120) for letter in "abcdefg"]
    whole, cut = written(events), written(events, tokens=100)
    assert len(whole.text.split()) > 700 - 40
    assert len(cut.text.split()) <= 100
    assert len(cut.text.splitlines()) == 7
    assert cut.left_out == len(written(events, tokens=10**6).text) - len(cut.text) > 0
    assert all("…" in line for line in cut.text.splitlines())


def test_what_a_selection_cuts_off_a_value_is_counted():
    text = "ab " * 4_000 + "ab"
    long = event({"note": text}, source="thing", host=None, user=None)
    found = written([long], tokens=10**6)
    assert found.left_out == len(text) - (len(found.text) - len("note=")) > 10_000
    line = Event("e", text, "linux", "f", 0)
    found = written([line], tokens=10**6)
    assert found.left_out == len(text) - len(found.text) > 8_000


def test_values_behind_the_first_of_a_record_are_counted():
    record = {f"k{place}": f"value{chr(97 + place // 26)}{chr(97 + place % 26)}" for place in range(100)}
    found = written([event(record, source="thing", host=None, user=None)], tokens=10**6)
    assert len(found.text.split()) == 64
    assert found.left_out == (100 - 64) * len("valueaa")


def test_a_budget_that_nothing_fits_cuts_the_end():
    found = written([created("x y z")] * 2 + [created("u v w")] * 5, tokens=16, repeats=False)
    assert 0 < len(found.text.split()) <= 16


def test_other_records_are_flattened_without_ids_and_times():
    record = {"id": "1", "eventTime": "x", "user": {"email": "ada@lab.example"}, "request": {"path": "/a", "n": 1}}
    found = written([event(record, source="thing", host=None, user=None)])
    assert found.text == "email=USER1 path=/a n=1"


def test_ids_are_written_where_they_are_paths():
    long = "/subscriptions/7/resourceGroups/g/providers/Microsoft.Network/networkWatchers/w"
    record = {"resourceId": long, "correlationId": "77-a", "android": "yes"}
    found = written([event(record, source="thing", host=None, user=None)])
    assert found.text == "resourceId=/Microsoft.Network/networkWatchers/w android=yes"


def test_a_line_is_written_as_it_is():
    line = Event("e", "sshd: Failed password for ada from 8.8.8.8", "linux", "f", 0, user="ada")
    assert written([line]).text == "sshd: Failed password for USER1 from EXT1"


def test_parameters_that_are_lists_of_names_and_values_keep_their_names():
    assert dict(flattened({"p": [{"name": "A", "value": 1}, {"name": "B", "value": True}]})) == {
        "p.A": "1",
        "p.B": "true",
    }


def test_json_inside_a_string_is_opened():
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "n": None}], "Version": "2012-10-17"})
    record = {"policy": policy, "list": " [1, true]", "twice": json.dumps({"inner": json.dumps({"deep": "x"})})}
    assert list(flattened(record)) == [
        ("policy.Statement.Effect", "Allow"),
        ("policy.Statement.Action", "*"),
        ("policy.Version", "2012-10-17"),
        ("list", "1"),
        ("list", "true"),
        ("twice.inner.deep", "x"),
    ]
    # Long before its end an unopened policy would be cut: the generic selection keeps 120 characters of a value.
    long = json.dumps({"statement": [{"note": "n" * 150}, {"effect": "Allow", "action": "iam:PassRole"}]})
    text = written([event({"policyText": long}, source="thing", host=None, user=None)]).text
    assert text.endswith("effect=Allow action=iam:PassRole")


def test_a_string_that_is_no_small_json_stays_as_it_is():
    deep, large = "[" * 3_000 + "]" * 3_000, json.dumps(["x" * 70_000])
    for text in ("{", "[ERROR] disk", "{'a': 1}", '{"a": 1} and more', '["\ud800"]', deep, large):
        assert list(flattened({"a": text})) == [("a", text)]


def test_strings_in_strings_are_opened_to_a_depth_only():
    value = "x"
    for _ in range(12):
        value = json.dumps([value])
    ((_, found),) = flattened(json.loads(value))
    assert found == "x"
    ((_, found),) = flattened({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": [[value]]}}}}}}}}}})
    assert found == value


def test_a_policy_that_is_attached_is_written():
    request = {"roleName": "r", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "roleArn": "arn:aws:iam::1"}
    record = {"eventSource": "iam.amazonaws.com", "eventName": "AttachRolePolicy", "requestParameters": request}
    policy = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]}
    record |= {"responseElements": {"policyDocument": json.dumps(policy)}}
    found = written([event(record, source="cloudtrail", host=None, user=None)]).text
    assert "policyArn=arn:iam::aws:policy/AdministratorAccess" in found
    assert "roleArn" not in found
    assert "Effect=Allow AWS=*" in found


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    ),
    st.sampled_from(["windows", "zeek", "cloudtrail", "auditd", "tshark", "iptables", "other"]),
)
def test_hostile_records_are_written_within_the_budget(value, source):
    record = {"eventSource": value, "eventName": value, "message": value, "Event": value, "layers": value, "x": value}
    found = write([Event("e", json.dumps(record), source, "f", 0)], SPECS, WritingConfig(tokens=64), None, len, 0)
    assert len(found.text) <= 64
    assert "\n" not in found.text


def test_shortening_keeps_both_ends():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghij", 7) == "abcd…ij"
    assert len(shorten("abcdefghij", 4)) == 4


def test_fields_of_a_selection():
    spec = FieldsSpec.model_validate(
        {
            "shape": "keys",
            "title": ["kind", "@process"],
            "names": {"a p": "named"},
            "fields": {
                "path": {"name": "path", "cut": "file"},
                "same": {"name": "same", "again": False},
                "gone": {"name": "gone", "hidden": ["no"]},
                "b.c": {"name": "", "most": 4},
                "d": {"name": "d", "unless": "path"},
            },
        }
    )
    record = {"kind": "a", "path": "/x/y", "same": "Y", "gone": "no", "b": {"c": "abcdefg"}, "d": 1}
    selected = select(event(record, process="p"), [spec])
    assert values_of(selected, str) == ("named", [("path", "y"), ("", "ab…g")], len("abcdefg") - len("ab…g"))


def test_the_last_selection_must_fit_every_event(tmp_path):
    with pytest.raises(UserError, match="must fit every event"):
        load_fields(["finetune/fields/windows"])
    (tmp_path / "bad.yaml").write_text("skip: ['(']\n")
    with pytest.raises(UserError, match="no regular expression"):
        load_fields([str(tmp_path / "bad.yaml")])
