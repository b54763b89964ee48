"""The GPU benchmark runs every stage on any machine, small, and a stage that fails takes none of the others along."""

import json

import numpy as np
import pytest
import torch

from benchmarks import gpu
from logfm.pretrain.carried import read_shard
from tests.pretrain.test_carried import write

ARGUMENTS = ["--device", "cpu", "--tiny", "--no-compile"]


def test_every_stage_runs_and_the_fast_side_keeps_parity(tmp_path):
    results = gpu.main(["--out", str(tmp_path), *ARGUMENTS])
    assert json.loads((tmp_path / "gpu.json").read_text()) == results
    assert list(results) == list(gpu.STAGES)
    assert not [row for rows in results.values() for row in rows if {"failed", "left out"} & row.keys()]
    assert len(results["parity"]) == 6 and all(row["holds"] for row in results["parity"])
    assert [row["side"] for row in results["speed"]] == ["logfm", "HF bf16", "HF fp32"]
    better = max(row["tokens/s"] for row in results["speed"][1:])
    assert results["speed"][0]["times the better rival"] == pytest.approx(
        results["speed"][0]["tokens/s"] / better, abs=0.006
    )
    same, _, other_precision = results["curve"]
    assert same["largest difference"] < 1e-4 < other_precision["largest difference"] + 1e-4
    assert same["last loss"] < same["first loss"]
    (trained,) = results["run"]
    assert trained["steps"] == 20 and 0 < trained["least"] <= trained["tokens/s"] <= trained["most"]
    assert results["machine"][0]["peak TFLOP/s"] is None
    assert all(row["of the peak"] is None and row["of the measured product"] > 0 for row in results["utilisation"])
    for stage in gpu.STAGES:
        assert f"## {stage}\n" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize(("name", "peak"), [("NVIDIA A100-SXM4-80GB", 312e12), ("Another 9000", None)])
def test_the_peak_is_that_of_the_device_or_left_blank(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert gpu.known_peak(torch.device("cuda")) == peak
    assert gpu.known_peak(torch.device("cpu")) is None
    assert gpu.markdown({"machine": [{"peak TFLOP/s": None, "events": 3}]}).splitlines()[-1] == "|  | 3 |"


def test_given_tokens_are_used_and_time_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    shard = write(tmp_path / "tokens", [rng.integers(5, 300, size=n).tolist() for n in (20, 30, 41)])
    results = gpu.main(["--out", str(tmp_path / "out"), "--tokens", str(shard), "--minutes", "0", *ARGUMENTS])
    assert all(rows == [{"left out": "no time"}] for rows in results.values())
    assert sum(map(len, read_shard(shard))) == 91


def test_a_stage_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(bench):
        yield {"step": 1}
        raise RuntimeError("no kernel")

    monkeypatch.setattr(gpu, "STAGES", {"machine": gpu.machine, "broken": broken, "again": gpu.machine})
    results = gpu.main(["--out", str(tmp_path), *ARGUMENTS])
    assert results["broken"] == [{"step": 1}, {"failed": "RuntimeError: no kernel"}]
    assert results["again"] == results["machine"] and "tokens" in results["machine"][0]


def test_the_rival_halves_its_batch_until_it_fits(tmp_path, monkeypatch):
    whole, tried = gpu.rival, []

    def hungry(bench, bf16):
        step = whole(bench, bf16)

        def take(batch):
            if batch[0]["input_ids"].numel() > 300:
                tried.append(batch[0]["input_ids"].shape)
                raise torch.OutOfMemoryError
            return step(batch)

        return take

    monkeypatch.setattr(gpu, "rival", hungry)
    monkeypatch.setattr(gpu, "STAGES", {"speed": gpu.speed})
    rows = {row["side"]: row for row in gpu.main(["--out", str(tmp_path), *ARGUMENTS])["speed"]}
    assert tried and rows["logfm"]["tokens a batch"] == 512 and rows["HF bf16"]["tokens a batch"] < 512
