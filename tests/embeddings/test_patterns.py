"""What fits no pattern: by columns, by embeddings, by both."""

import numpy as np
import orjson
import pytest

from logfm.configs.schema.embeddings import PatternsConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.columns import columns_of, label_codes, rarest
from logfm.embeddings.patterns import patterns
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

COMMANDS = (
    "cmd.exe /c dir C:\\Users /s",
    "svchost.exe -k netsvcs -p -s Schedule",
    "notepad.exe C:\\notes for today.txt",
)


def rows(count=300, seed=0):
    """Process events with three planted ones: a rare value, a rare command, and both."""
    rng = np.random.default_rng(seed)
    found = [
        {"id": f"{i:06x}", "host": f"ws{rng.integers(4)}", "level": ["low", "medium"][rng.integers(2)],
         "user": {"name": ["ann", "bo", "cy"][rng.integers(3)]}, "command": COMMANDS[rng.integers(3)], "os": "win"}
        for i in range(count)
    ]  # fmt: skip
    found[40] |= {"level": "system", "user": {"name": "guest"}, "host": "dc9"}
    found[90] |= {"command": "powershell -enc SQBFAFgA downloadstring http evil payload beacon"}
    found[200] |= {"level": "system", "user": {"name": "guest"}, "command": "rundll32 comsvcs MiniDump lsass full dump"}
    return found


def write_rows(path, given):
    path.write_bytes(b"\n".join(map(orjson.dumps, given)) + b"\n")
    return str(path)


def record(**given):
    return {
        "source": "s",
        "log_type": None,
        "host": None,
        "user": None,
        "process": None,
        "text": "",
        "fields": None,
    } | given


def test_columns_are_sorted_by_what_is_in_them():
    records = [record(text=orjson.dumps(row).decode()) for row in rows()]
    found = columns_of(records, None)
    # os and source have one value, id has its own in every row.
    assert set(found.structured) == {"host", "level", "user.name"}
    assert list(found.free) == ["command"]
    assert found.structured["user.name"][40] == "guest"
    assert set(columns_of(records, ["level"]).free) == {"level"}
    with pytest.raises(UserError, match="no such column: lewel"):
        columns_of(records, ["lewel"])


def test_a_raw_line_is_free_text_beside_what_was_parsed():
    records = [record(text=f"line {i % 7} of the log", host=f"h{i % 3}") for i in range(30)]
    found = columns_of(records, None)
    assert set(found.structured) == {"host"}
    assert found.free == {"text": [one["text"] for one in records]}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": ', "\ud800{", '{"a":' * 3000, '{"a\\u0000": "b"}'])
def test_hostile_rows_are_rows(text):
    found = columns_of([record(text=text), record(text="other", host="h")], None)
    assert len(found.free["text"]) == 2


def test_rare_labels_lie_at_one_end():
    codes = label_codes({"a": ["x"] * 6 + ["y"] * 3 + ["z"], "b": ["k", "l"] * 5})
    assert codes.shape == (10, 2)
    assert codes[0, 0] < codes[6, 0] < codes[9, 0]
    assert codes[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert codes[:, 0].std() == pytest.approx(1, abs=1e-5)
    assert not codes[:, 1].any()  # equally frequent: nothing to tell
    assert rarest({"a": ["x", "x", "z"], "b": ["k", "", "l"]}, 2) == [("a", "z", 1), ("b", "l", 1)]


def test_each_way_finds_what_it_is_for(tmp_path):
    log = write_rows(tmp_path / "rows.json", rows())
    found = patterns([log], LogEncoder.load("tfidf"), PatternsConfig())

    def places(outliers):
        return [int(orjson.loads(one.event["text"])["id"], 16) for one in outliers]

    assert found.events == 300
    assert found.free_text == ["command"]
    assert len(found.labels) == len(found.embeddings) == len(found.hybrid) == 5
    assert set(places(found.labels)[:2]) == {40, 200}
    assert places(found.hybrid)[0] == 200  # odd in both
    assert {40, 90, 200} <= set(places(found.hybrid))
    assert 90 not in places(found.labels)
    assert {(one.column, one.value, one.count) for one in found.labels[0].rare} >= {("level", "system", 2)}
    scores = [one.score for one in found.hybrid]
    assert scores == sorted(scores, reverse=True)
    again = patterns([log], LogEncoder.load("tfidf"), PatternsConfig())
    assert places(again.hybrid) == places(found.hybrid)


def test_equal_texts_are_named_once(tmp_path, letters):
    log = write_log(tmp_path / "app.log", [*log_lines(60), *(["zzzz zzzz zzzz qqqq"] * 2)])
    found = patterns([log], letters, PatternsConfig(top=3))
    texts = [one.event["text"] for one in found.embeddings]
    assert len(set(texts)) == 3
    assert found.embeddings[texts.index("zzzz zzzz zzzz qqqq")].count == 2


def test_too_little_input_is_the_users_mistake(tmp_path, letters):
    with pytest.raises(UserError, match="at least two events"):
        patterns([write_log(tmp_path / "one.log", ["one line"])], letters)
