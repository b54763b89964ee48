import sys

import pytest

from logfm.evaluation.suite.registry import Registry, registry
from logfm.evaluation.suite.results import FAILED, OK
from logfm.evaluation.suite.runner import run

ray = pytest.importorskip("ray")

BROKEN = """
class Broken:
    hash, dim = "broken", 4

    def encode(self, texts):
        raise RuntimeError("the model ran away")


encoder = Broken()
"""


def small() -> Registry:
    known = registry()
    spec = known.data["simulated"].model_copy(update={"most_rows": 300})
    suite = known.suites["quick"].model_copy(update={"tasks": {"similarity": {"pairs": 50}}, "seeds": 2})
    return Registry(known.tasks, {"simulated": spec}, {"quick": suite}, known.load, known.codes)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_gives_what_one_process_gives(tmp_path, monkeypatch):
    (tmp_path / "broken_encoder.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    encoders = ["random", "gone=py:broken_encoder:encoder"]
    local = run(small(), "quick", encoders, tmp_path / "local")
    try:
        spread = run(small(), "quick", encoders, tmp_path / "ray", engine="ray", workers=2)
    finally:
        ray.shutdown()
        sys.modules.pop("broken_encoder", None)
    measured = [[row for row in rows if row.status == OK] for rows in (local, spread)]
    assert len(measured[0]) > 20
    for ours, theirs in zip(*measured, strict=True):
        assert (ours.encoder, ours.seed, ours.metric, ours.condition) == (
            theirs.encoder, theirs.seed, theirs.metric, theirs.condition,
        )  # fmt: skip
        assert ours.value == theirs.value or ours.value != ours.value
    failed = {row.note for row in spread if row.encoder == "gone" and row.status == FAILED}
    assert failed == {
        "the encoder failed: py:broken_encoder:encoder: encode() failed (RuntimeError: the model ran away)"
    }
