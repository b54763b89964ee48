import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.evaluation.anomaly.windows import Columns, Sequences, by_count, by_event, by_group, by_window
from logfm.finetune import Sequences as HeadSequences


def columns(count, **given):
    return Columns(given.pop("labels", np.zeros(count, dtype=np.int8)), **given)


def test_groups_are_in_order_of_time():
    given = columns(4, groups=["a", "b", "a", "b"], times=np.array([9.0, 1.0, 2.0, 3.0]))
    found = by_group(np.arange(4), given)
    assert [list(rows) for rows in found.rows] == [[1, 3], [2, 0]]
    assert found.clusters == ["b", "a"]


def test_a_sequence_is_anomalous_where_one_event_is_and_takes_its_class():
    labels = np.array([0, 0, 1, 0], dtype=np.int8)
    given = columns(4, labels=labels, groups=["a", "a", "b", "b"], classes=["", "", "worm", ""])
    found = by_group(np.arange(4), given)
    assert found.labels.tolist() == [0, 1] and found.classes == ["", "worm"]
    assert found.take(found.labels > 0).clusters == ["b"]


def test_the_bootstrap_draws_entities_not_groups():
    given = columns(3, groups=["app1/c1", "app1/c2", "app2/c1"], entities=["app1", "app1", "app2"])
    assert by_group(np.arange(3), given).clusters == ["app1", "app1", "app2"]


def test_windows_start_with_the_first_event_of_each_entity():
    given = columns(5, entities=list("aaabb"), times=np.array([5.0, 14.0, 15.0, 100.0, 109.0]))
    assert [list(rows) for rows in by_window(np.arange(5), given, 10).rows] == [[0, 1], [2], [3, 4]]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 9))
def test_counted_windows_cover_everything_and_end_once(count, size, stride):
    stride = min(stride, size)
    found = by_count(np.arange(count), columns(count), size, stride)
    assert sorted(set(found.events.tolist())) == list(range(count))
    assert all(len(rows) == size for rows in found.rows[:-1])
    assert [rows[0] for rows in found.rows] == [number * stride for number in range(len(found))]
    assert sum(rows[-1] == count - 1 for rows in found.rows) == 1


def test_windows_of_entities_do_not_mix():
    given = columns(6, entities=list("ababab"))
    assert [list(rows) for rows in by_count(np.arange(6), given, 2).rows] == [[0, 2], [4], [1, 3], [5]]


def test_single_events():
    found = by_event(np.array([3, 5]), columns(6, entities=list("abcdef")))
    assert [list(rows) for rows in found.rows] == [[3], [5]] and found.clusters == ["d", "f"]


def test_days_leave_out_long_pauses():
    day = 86_400.0
    given = columns(4, times=np.array([0.0, day / 2, 30 * day, 30.5 * day]))
    assert by_event(np.arange(4), given).days == 2.0
    assert np.isnan(by_event(np.arange(4), columns(4)).days)


def test_longer_sequences_are_cut_as_the_heads_cut_them():
    rows = [np.arange(7), np.arange(3)]
    whole = Sequences(rows, ["a", "b"], np.array([1, 0], dtype=np.int8), ["", ""])
    read = HeadSequences([row[:, None].astype(np.float32) for row in rows]).trimmed(5)[0].vectors
    cut = whole.trimmed(5)
    assert [row.tolist() for row in cut.rows] == [row[:, 0].tolist() for row in read] == [[0, 1, 2, 5, 6], [0, 1, 2]]
    assert (cut.labels == whole.labels).all() and whole.longer(5) == 1 and whole.longer(None) == 0
    assert whole.trimmed(None) is whole
