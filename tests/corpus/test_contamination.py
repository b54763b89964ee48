import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import build
from logfm.corpus.contamination import join_indexes, read_index, seen
from logfm.corpus.templates import template_hashes
from logfm.errors import UserError


def hashes(*texts: str) -> list[int]:
    return template_hashes(pa.array(texts)).tolist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mar  3 12:00:01 h sshd[12]: port 22 from 10.1.2.3", "Dec 31 23:59:59 h sshd[4]: port 6102 from 192.168.7.77"),
        ("2024-01-01T10:00:00Z up", "2025-11-21 08:12:33.123456 up"),
        ("id {6e2fa0c1-77aa-4b3c-9d21-abcdefabcdef} ok", "id {0a1b2c3d-abcd-abcd-abcd-000011112222} ok"),
        ("at 0x7ffdeadbeef0 done", "at 0x1 done"),
        ("from fe80::1ff:fe23:4567:890a drop", "from 2001:db8::1 drop"),
        ("Fri Mar 07 10:00:00 2025 x", "Mon Dec 29 10:00:00 2025 x"),
    ],
)  # fmt: skip
def test_values_do_not_matter(one, other):
    assert len(set(hashes(one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Accepted password for root", "Failed password for root"),
        ("open file a", "open a file"),
        ("user bob 1", "user eve 1"),
        ("beef for 1", "fish for 1"),
        ("a 1 b", "a b"),
        ("--", "---"),
        ("a", "a a"),
    ],
)
def test_words_and_their_order_do(one, other):
    assert len(set(hashes(one, other))) == 2


@given(st.lists(st.text(max_size=60), max_size=8))
def test_a_text_has_one_hash_in_whatever_company(texts):
    together = hashes(*texts)
    assert together == [hashes(text)[0] for text in texts]


def test_the_index_tells_new_templates_from_new_values(tmp_path, monkeypatch):
    lines = [f"{n} user {'abc'[n % 3]} logged in from 10.0.0.{n}" for n in range(300)] + ["one of its kind"]
    (tmp_path / "a.log").write_text("\n".join(lines) + "\n")
    build([tmp_path / "a.log"], tmp_path / "corpus", CorpusConfig(shard_bytes=2048))
    index = read_index(tmp_path / "corpus")
    asked = ["7 user a logged in from 8.8.8.8", "7 user a logged out from 8.8.8.8", "one of its kind", ""]
    assert seen(index, asked).tolist() == [True, False, True, False]
    assert seen(np.empty(0, np.uint64), asked).tolist() == [False] * 4
    table = pq.read_table(tmp_path / "corpus/templates.parquet")
    assert table["template"].to_pylist() == sorted(set(table["template"].to_pylist()))
    assert sum(table["events"].to_pylist()) == 301
    monkeypatch.setattr("logfm.corpus.contamination._PARTITION", 2)
    build([tmp_path / "a.log"], tmp_path / "parts", CorpusConfig(shard_bytes=2048))
    assert pq.read_table(tmp_path / "parts/templates.parquet") == table
    with pytest.raises(UserError):
        read_index(tmp_path)


def test_indexes_are_joined_or_there_is_none(tmp_path):
    for name, lines in (("one", "a b 1\na b 2\nc d\n"), ("two", "c d\ne f\n")):
        (tmp_path / f"{name}.log").write_text(lines)
        build([tmp_path / f"{name}.log"], tmp_path / name)
    assert join_indexes([tmp_path / "one", tmp_path / "two"], tmp_path)
    table = pq.read_table(tmp_path / "templates.parquet")
    parts = [read_index(tmp_path / name) for name in ("one", "two")]
    assert table["template"].to_numpy().tolist() == sorted({*parts[0].tolist(), *parts[1].tolist()})
    assert sum(table["events"].to_pylist()) == 5 and len(table) == 3
    (tmp_path / "bare").mkdir()
    (tmp_path / "out").mkdir()
    assert not join_indexes([tmp_path / "one", tmp_path / "bare"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_sources_have_the_identity_of_their_content(tmp_path):
    for name, lines in (("x", "a\nb\n"), ("y", "b\na\n"), ("z", "b\nb\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.log").write_text(lines)
    config = CorpusConfig(licences=("MIT",))
    sources = build([tmp_path / name for name in "xyz"], tmp_path / "corpus", config).metrics["sources"]
    contents = [one["content"] for one in sources.values()]
    assert len(contents) == 3 and len(set(contents)) == 2
    assert all(one["licences"] == ["MIT"] for one in sources.values())
