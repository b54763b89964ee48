"""From events to labelled sequences: cutting, labels, and splits that share nothing."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.configs.base import parse
from logfm.configs.schema.finetune import FinetuneConfig, SequenceConfig, SplitConfig
from logfm.errors import UserError
from logfm.finetune.cutting import cut, group_names
from logfm.finetune.data import encode, labelled
from logfm.finetune.splitting import SPLITS, split
from tests.finetune.samples import recipe, write_logs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_logs(tmp_path_factory.mktemp("finetune") / "data")


def data(folder, **changes):
    return labelled(parse(FinetuneConfig, recipe(folder, **changes), "test").data, 0)


def test_cuts_go_by_group_time_pause_and_length():
    names = ["a", "b", "a", None, "a", "a", "b"]
    times = np.array([0.0, 1, 5, 6, 3, 100, np.nan])
    assert rows(cut(names, times, SequenceConfig())) == [[0, 4, 2, 5], [1, 6]]
    assert rows(cut(names, times, SequenceConfig(gap=50))) == [[0, 4, 2], [1, 6], [5]]
    assert rows(cut(names, times, SequenceConfig(events=3))) == [[0, 4, 2], [1, 6], [5]]
    assert rows(cut(names, times, SequenceConfig(events=1))) == [[0], [1], [2], [4], [5], [6]]
    only = np.array([1, 1, 0, 1, 1, 0, 0], dtype=bool)
    assert rows(cut(names, times, SequenceConfig(), only)) == [[0, 4], [1]]


def rows(cuts):
    return [part.tolist() for part in cuts.rows]


def test_a_pattern_names_groups():
    table = pa.table({"text": ["x blk_-1 y", "none", "blk_22 blk_3"]})
    assert group_names(table, SequenceConfig(pattern=r"blk_-?\d+")) == ["blk_-1", None, "blk_22"]
    assert group_names(table, SequenceConfig(pattern=r"blk_(-?\d+)")) == ["-1", None, "22"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 50)), min_size=30, max_size=80),
    st.sampled_from(["time", "group", "host"]),
    st.integers(0, 5),
    st.booleans(),
)
def test_parts_share_nothing(found, by, seed, whole):
    names, times = [name for name, _ in found], np.array([float(time) for _, time in found])
    hosts = [name if name < "f" else "f" for name in names]
    table = pa.table({"host": hosts})
    config, sequence = SplitConfig(by=by), SequenceConfig(group=("host",), events=4)
    try:
        parts = split(table, names, times, sequence, config, SPLITS, seed, whole)
    except UserError as error:
        assert "is empty" in str(error) or "needs at least" in str(error)
        return
    taken = {name: np.concatenate(one.rows) for name, one in parts.parts.items()}
    assert sum(map(len, taken.values())) + parts.left_out == len(names)
    assert len(np.unique(np.concatenate(list(taken.values())))) == sum(map(len, taken.values()))
    if by == "time":
        assert times[taken["train"]].max() < times[taken["validation"]].min()
        assert times[taken["validation"]].max() < times[taken["test"]].min()
    if by != "time" or whole:
        owners = hosts if by == "host" else names
        groups = [{owners[row] for row in part} for part in taken.values()]
        assert not groups[0] & groups[1] and not groups[1] & groups[2] and not groups[0] & groups[2]


def test_labels_come_from_a_table_of_events(folder):
    found = data(folder)
    assert found.classes == ("normal", "attack")
    texts = found.table["text"].to_pylist()
    for part in found.parts.values():
        for events, label in zip(part.cuts.rows, part.labels, strict=True):
            assert label == any("refused" in texts[row] for row in events)
    assert {name: len(part.labels) for name, part in found.parts.items()} == {
        "train": 12 * 4, "validation": 12 * 2, "test": 12 * 2}  # fmt: skip
    assert data(folder, data__target="classes").classes == ("normal", "brute_force")


def test_labels_of_whole_groups(folder, tmp_path):
    path = tmp_path / "hosts.csv"
    path.write_text("name,verdict\n" + "".join(f"{n},{'Anomaly' if n % 3 == 0 else 'Normal'}\n" for n in range(11)))
    found = data(
        folder,
        data__labels=None,
        data__group_labels={"path": str(path), "group": "name", "label": "verdict"},
        data__sequence={"pattern": r" host(\d+) ", "events": 40},
        data__split={"by": "group"},
    )
    assert sum(len(part.labels) for part in found.parts.values()) == 11
    assert found.left_out == {"sequences without a label": 1}
    for part in found.parts.values():
        assert part.labels.tolist() == [int(group) % 3 == 0 for group in part.cuts.groups]


def test_parts_of_their_own_inputs(folder, tmp_path):
    other = write_logs(tmp_path / "other", hosts=6, seed=1)
    found = data(folder, data__test=str(other / "logs"), data__test_labels=str(other / "labels.csv"))
    events = {name: sum(map(len, part.cuts.rows)) for name, part in found.parts.items()}
    assert (events["train"] + events["validation"], events["test"]) == (12 * 30, 6 * 30)
    assert found.parts["test"].labels.tolist() == [1, 0, 0, 1, 0, 0] * 6
    with pytest.raises(UserError, match="the test data holds no labels"):
        data(folder, data__test=str(other / "logs"))
    with pytest.raises(UserError, match="validation_labels needs an INPUT"):
        data(folder, data__validation_labels="a.csv")
    with pytest.raises(UserError, match="the same event is in train and test"):
        data(folder, data__test=str(folder / "logs"))


def test_mistakes_are_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="the data holds no labels"):
        data(folder, data__labels=None)
    path = tmp_path / "labels.csv"
    path.write_text((folder / "labels.csv").read_text().replace("brute_force", "benign"))
    with pytest.raises(UserError, match="one class only: normal"):
        data(folder, data__labels=str(path))
    path.write_text("file,offset,label\nother.log,0,attack\n")
    with pytest.raises(UserError, match="labels none of these events"):
        data(folder, data__labels=str(path))
    lines = (folder / "labels.csv").read_text().splitlines()
    path.write_text("\n".join([*lines[:-5], lines[-5].replace(",benign", ",theft"), *lines[-4:]]))
    with pytest.raises(UserError, match="the test data has a label that no training sequence has: theft"):
        data(folder, data__labels=str(path), data__target="classes")
    with pytest.raises(UserError, match="needs at least 3 different values: found 1"):
        data(folder, data__split={"by": "source"})
    with pytest.raises(UserError, match="no such column of an event: hosts"):
        data(folder, data__sequence={"group": ["hosts"]})
    with pytest.raises(UserError, match="pattern matches no event"):
        data(folder, data__sequence={"pattern": "zzz"})
    with pytest.raises(UserError, match="exclude each other"):
        data(folder, data__group_labels={"path": "a.csv", "group": "a", "label": "b"})
    with pytest.raises(UserError, match="no regular expression"):
        data(folder, data__sequence={"pattern": "("})


def test_texts_are_encoded_once_and_kept(letters, tmp_path):
    kept = tmp_path / "vectors.npy"
    first = encode(letters, ["ab", "c", "ab"], kept)
    assert first.shape == (3, letters.dim)
    assert np.array_equal(first[0], first[2])
    again = encode(letters, ["ab", "c", "ab"], kept)
    assert np.array_equal(again, first)
    assert letters.counts.texts == 2
    assert list(tmp_path.iterdir()) == [kept]
