"""The Triton attention is held to the eager one: on a GPU, and without one in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from logfm import doctor
from logfm.pretrain.attention import Buckets, packed_attention, triton
from logfm.pretrain.packing import pack
from tests.pretrain import triton_cases as cases

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
with_kernels = pytest.mark.skipif(
    find_spec("disentangled_flash") is None or find_spec("triton") is None, reason="needs disentangled-flash and triton"
)


@with_kernels
def test_outputs_and_gradients_equal_the_eager_ones_in_the_interpreter():
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, Path(cases.__file__)], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    errors = {line.split()[0]: [float(error) for error in line.split()[1:]] for line in run.stdout.splitlines()}
    assert errors.keys() == cases.PACKINGS.keys()
    assert all(len(row) == 7 and max(row) < 1e-4 for row in errors.values()), errors


@on_gpu
@with_kernels
@pytest.mark.parametrize("name", cases.PACKINGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.02)])
def test_outputs_and_gradients_equal_the_eager_ones_on_the_gpu(name, dtype, tolerance):
    packed, tensors, weights = cases.inputs(name, dtype, "cuda")
    ours = cases.results("triton", packed, tensors, weights)
    exact = [tensor.detach().float().requires_grad_() for tensor in tensors]
    for one, other in zip(ours, cases.results("eager", packed, exact, weights), strict=True):
        assert (one - other).norm() <= tolerance * other.norm().clamp(min=1.0)


@on_gpu
def test_the_path_without_kernels_runs_on_the_gpu(monkeypatch):
    monkeypatch.setattr(triton, "_installed", lambda: False)
    batch = cases.inputs("mixed", device="cuda")
    for one, other in zip(cases.results("auto", *batch), cases.results("eager", *batch), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(find_spec("disentangled_flash") is None, reason="needs disentangled-flash")
@pytest.mark.parametrize("longest", [1, 64, 320])
def test_distances_have_the_rows_of_the_model(longest):
    buckets = Buckets(8, 40)
    plan, rows = triton._plan(buckets, longest, torch.device("cpu"))
    by_distance = rows[plan.delta_to_local.long()]
    assert torch.equal(by_distance, buckets.rows(longest - 1, 1 - longest, torch.device("cpu")).flip(0))
    assert len(rows) % 8 == 0


@pytest.mark.parametrize(
    ("changes", "length", "expected"),
    [
        ({}, 8192, True),
        ({}, 8193, False),
        ({"is_cuda": False}, 64, False),
        ({"shape": (64, 4, 48)}, 64, False),
        ({"shape": (64, 65, 64)}, 64, False),
    ],
)
def test_kernels_are_chosen_where_they_are_proven(changes, length, expected, monkeypatch):
    monkeypatch.setattr(triton, "_installed", lambda: True)
    query = SimpleNamespace(**{"is_cuda": True, "shape": (length, 12, 64)} | changes)
    assert triton.supported(query, pack([np.full(3, 7), np.full(length, 7)])) is expected


def test_auto_takes_another_path_without_the_package(monkeypatch):
    monkeypatch.setattr(triton, "find_spec", lambda name: None)
    triton._installed.cache_clear()
    query = SimpleNamespace(is_cuda=True, shape=(8, 4, 64))
    assert not triton.supported(query, pack([np.full(8, 7)]))
    triton._installed.cache_clear()


def test_auto_equals_eager_where_there_is_no_gpu():
    batch = cases.inputs("mixed")
    for one, other in zip(cases.results("auto", *batch), cases.results("eager", *batch), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert packed_attention("auto") is not packed_attention("triton")


def test_the_doctor_misses_the_kernels_only_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda package: None)
    assert not any("kernels" in problem for problem in doctor._problems([]))
    assert any("attention runs without its kernels" in problem for problem in doctor._problems(["NVIDIA H200"]))
