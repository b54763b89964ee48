"""Encoding on a local Ray cluster gives the file that one process writes."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from logfm.embeddings import LogEncoder
from logfm.embeddings.embed import embed
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_writes_what_one_process_writes(tmp_path, cluster, encoder_folder):
    log = write_log(tmp_path / "app.log", [*log_lines(9000), "word " * 300])
    one, two = LogEncoder.load(encoder_folder), LogEncoder.load(encoder_folder)
    assert embed([log], one, tmp_path / "one.parquet") == 9001
    assert embed([log], two, tmp_path / "two.parquet", engine="ray", workers=2) == 9001
    assert vars(one.counts) == vars(two.counts)
    assert one.counts.cut == 1
    local, spread = (pq.read_table(tmp_path / name) for name in ("one.parquet", "two.parquet"))
    assert spread.schema.equals(local.schema, check_metadata=True)
    assert spread.drop_columns("vector").equals(local.drop_columns("vector"))
    found, expected = (np.stack(table["vector"].to_numpy()) for table in (spread, local))
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_mistake_found_by_a_worker_is_told_as_one(tmp_path, cluster, encoder_folder):
    log = write_log(tmp_path / "app.log", ["word " * 300])
    with pytest.raises(UserError, match="the encoder reads 126"):
        embed([log], LogEncoder.load(encoder_folder, truncation="error"), tmp_path / "out.parquet", engine="ray")
    with pytest.raises(UserError, match="tfidf"):
        embed([log], LogEncoder.load("tfidf"), tmp_path / "out.parquet", engine="ray")
    assert [path.name for path in tmp_path.iterdir()] == ["app.log"]
