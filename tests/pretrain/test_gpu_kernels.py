"""The benchmark's own kernels are held to the eager attention, in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    find_spec("disentangled_flash") is None or find_spec("triton") is None, reason="needs disentangled-flash and triton"
)
def test_outputs_and_gradients_equal_the_eager_ones():
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "benchmarks.gpu_tiles"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = [[float(word) for word in line.split()[-6:]] for line in run.stdout.splitlines()]
    assert len(rows) == 2
    assert max(max(row) for row in rows) < 1e-4
