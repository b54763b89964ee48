import json

import pytest

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import Corpus, build

ray = pytest.importorskip("ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_keeps_what_local_processes_keep(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for file in range(4):
        lines = [
            json.dumps({"host": f"h{n % 5}", "message": " ".join(f"w{n // 9}" for _ in range(9)), "n": n})
            for n in range(300)
        ]
        (folder / f"{file}.json").write_text("\n".join(lines) + "\n")
    config = CorpusConfig(dedup=("exact", "near"), shard_bytes=10_000, sessions=300)
    local = build([folder], tmp_path / "local", config, workers=1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        spread = build([folder], tmp_path / "ray", config, engine="ray")
    finally:
        ray.shutdown()
    assert spread.hash == local.hash
    assert spread.metrics["distinct"] == local.metrics["distinct"] < 1200
    assert (
        Corpus.open(tmp_path / "ray").kept_rows("near").tolist()
        == Corpus.open(tmp_path / "local").kept_rows("near").tolist()
    )
