"""A slim shard has whole events of the shard, and is read like it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.errors import UserError
from logfm.pretrain.carried import read_shard, slim_shard
from logfm.pretrain.data import Shard


def write(folder, events):
    folder.mkdir()
    table = pa.table({"input_ids": pa.array(events, pa.list_(pa.int32())), "source": ["app"] * len(events)})
    pq.write_table(table, folder / "train.parquet")
    return folder


@pytest.fixture
def events():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 29_952, size=length).tolist() for length in rng.integers(3, 60, size=300)]


def test_a_slim_shard_keeps_all_events_where_they_fit(tmp_path, events):
    folder = write(tmp_path / "tokens", events)
    assert slim_shard(folder, tmp_path / "slim", tokens=10**6) == sum(map(len, events))
    assert [ids.tolist() for ids in read_shard(tmp_path / "slim")] == events
    assert [ids.tolist() for ids in read_shard(folder)] == events
    smaller = (tmp_path / "slim" / "train.parquet").stat().st_size
    assert smaller < 0.65 * (folder / "train.parquet").stat().st_size


def test_the_trainer_reads_a_slim_shard(tmp_path, events):
    slim_shard(write(tmp_path / "tokens", events), tmp_path / "slim", tokens=10**6)
    shard = Shard(tmp_path / "slim", "train")
    assert shard.lengths.tolist() == [len(event) for event in events]
    assert shard.events(np.array([4]))[0].tolist() == events[4]


def test_a_slim_shard_is_bounded_and_spread_over_the_events(tmp_path, events):
    kept = slim_shard(write(tmp_path / "tokens", events), tmp_path / "slim", tokens=2000)
    found = [ids.tolist() for ids in read_shard(tmp_path / "slim")]
    places = [events.index(ids) for ids in found]
    assert sum(map(len, found)) == kept <= 2000 and kept > 1500
    assert places == sorted(places) and places[-1] > 200


def test_what_is_no_shard_and_what_does_not_fit_are_told(tmp_path):
    with pytest.raises(UserError, match="not a folder of token shards"):
        read_shard(tmp_path)
    with pytest.raises(UserError, match="16 bits"):
        slim_shard(write(tmp_path / "tokens", [[1, 70_000]]), tmp_path / "slim", tokens=10)


def test_an_empty_shard_stays_empty(tmp_path):
    assert slim_shard(write(tmp_path / "tokens", []), tmp_path / "slim", tokens=10) == 0
    assert read_shard(tmp_path / "slim") == []
