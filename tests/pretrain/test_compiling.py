"""Compiled layers give the same states and gradients, under the same names."""

import shutil
import subprocess
import sys

import pytest
from pydantic import ValidationError

from logfm.configs.schema.pretrain import TrainConfig
from logfm.pretrain import pretrain

# In a process of its own: the compiler keeps workers and warns of its own affairs.
SCRIPT = """
import torch
from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain.compiling import compile_layers
from logfm.pretrain.forward import hidden_states
from logfm.pretrain.model import build
from logfm.pretrain.packing import pack
import numpy as np

model = build(ModelConfig(hidden_size=32, layers=1, heads=2, intermediate_size=48, position_buckets=8), 64, 0, 1)
names = list(model.state_dict())
batches = [pack([np.arange(5, 5 + n) for n in lengths]) for lengths in ([7, 9], [20, 3, 4])]

def results():
    found = []
    for batch in batches:
        model.zero_grad()
        states = hidden_states(model, batch)
        states.square().sum().backward()
        found += [states.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    return found

expected = results()
compile_layers(model)
counts = torch._dynamo.utils.counters
for one, other in zip(results(), expected, strict=True):
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
assert list(model.state_dict()) == names
assert counts["stats"]["calls_captured"] > 0
assert not counts["graph_break"], counts["graph_break"]
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_layers_give_the_same_states_and_gradients():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_compile_is_refused_where_weights_are_gathered_as_modules_are_called():
    with pytest.raises(ValidationError, match="compile does not go with zero_stage 3"):
        TrainConfig(steps=1, compile=True, strategy="deepspeed", zero_stage=3)
    assert TrainConfig(steps=1, compile=True, strategy="deepspeed", zero_stage=2).compile


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_compiles_its_model_when_asked_to(asked, configure, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr("logfm.pretrain.run.compile_layers", compiled.append)
    train = {"steps": 1, "validate_every": 1, "checkpoint_every": 1, "compile": asked}
    outcome = pretrain(configure(tmp_path, train=train))
    assert outcome.run.metrics["step"] == 1
    assert [type(model).__name__ for model in compiled] == ["DebertaV2ForMaskedLM"] * asked
