"""The mask decoder: the same as written down event by event, positions from each event's start, kept in the folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu

from logfm.configs.schema.pretrain import ModelConfig
from logfm.errors import UserError
from logfm.pretrain import load_encoder
from logfm.pretrain.decoder import FILE, build_decoder, load_decoder
from logfm.pretrain.export import write_encoder
from logfm.pretrain.model import build
from logfm.pretrain.packing import pack
from logfm.tokenizer import LogTokenizer

MODEL = ModelConfig(hidden_size=16, heads=2, intermediate_size=32, layers=1, position_buckets=8, decoder_layers=2)


@pytest.fixture
def decoder():
    made = build_decoder(MODEL, seed=3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made


def packed_events(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return pack([rng.integers(5, 50, length) for length in lengths])


def naive(decoder, states_LD, positions):
    """One event, all queries against all keys, head by head."""
    length, width = states_LD.shape
    angles = torch.arange(length)[:, None] * 10_000.0 ** (-torch.arange(width // 2) / (width // 2))
    context = decoder.norm(states_LD + decoder.positions(torch.cat([angles.sin(), angles.cos()], 1)))
    x = context[positions]
    for layer in decoder.layers:
        heads = []
        projected = zip(
            *(f.chunk(layer.heads, -1) for f in (layer.query(x), layer.key(context), layer.value(context))),
            strict=True,
        )
        for q, k, v in projected:
            heads.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, -1) @ v)
        x = layer.attention_norm(x + layer.output(torch.cat(heads, -1)))
        x = layer.output_norm(x + layer.narrow(gelu(layer.wide(x))))
    return x


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_the_same_written_down_event_by_event(decoder, seed):
    rng = np.random.default_rng(seed)
    packed = packed_events(rng.integers(3, 40, size=9), seed)
    states = torch.randn(len(packed.ids_T), 16, requires_grad=True)
    positions = torch.from_numpy(rng.permutation(len(packed.ids_T))[: int(rng.integers(1, 60))])
    out = decoder(states, packed, positions)
    expected = torch.empty_like(out)
    for event in range(9):
        tokens = (packed.event_T == event).nonzero().flatten()
        asked = torch.isin(positions, tokens)
        expected[asked] = naive(decoder, states[tokens], positions[asked] - tokens[0])
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad((one * weights).sum(), states, retain_graph=True)[0] for one in (out, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_the_same_state_is_read_differently_at_another_place(decoder):
    packed = packed_events([12, 12])
    out = decoder(torch.ones(24, 16), packed, torch.arange(24))
    torch.testing.assert_close(out[:12], out[12:])
    distances = torch.cdist(out[:12], out[:12]) + torch.eye(12)
    assert distances.min() > 1e-3


def test_a_batch_without_masked_tokens_gives_nothing(decoder):
    packed = packed_events([4, 5])
    out = decoder(torch.ones(9, 16), packed, torch.empty(0, dtype=torch.int64))
    assert out.shape == (0, 16)


LONG = """
import resource
import numpy as np
import torch
from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.packing import pack
decoder = build_decoder(ModelConfig(hidden_size=16, heads=2, intermediate_size=32, layers=1), seed=0)
states, positions = torch.randn(48_000, 16, requires_grad=True), torch.arange(0, 48_000, 5)
decoder(torch.randn(64, 16), pack([np.ones(64, np.int64)]), torch.arange(8)).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoder(states, pack([np.ones(48_000, np.int64)]), positions).square().sum().backward()
assert torch.isfinite(states.grad).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_step_on_48000_tokens_takes_memory_that_is_linear_in_them():
    environment = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LONG], capture_output=True, text=True, timeout=280, check=True, env=environment
    )
    # The scores alone would be 9,600 x 48,000 numbers for each of two heads, 3.7 GB.
    assert int(done.stdout) * 1024 < 500_000_000


def test_the_folder_keeps_it_beside_a_plain_model(decoder, tokenizer_folder, tmp_path):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    model = build(MODEL, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    write_encoder(model, tokenizer, 64, tmp_path, decoder)
    assert not [name for name in load_file(tmp_path / "model.safetensors") if "decoder" in name]
    again = load_decoder(tmp_path, 16)
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
    ids = np.concatenate([tokenizer.encode_batch(["session opened for user root"])[0]])
    surprise = load_encoder(tmp_path).masked_nll(ids)
    (tmp_path / FILE).unlink()
    without = load_encoder(tmp_path)
    assert without.decoder is None
    assert np.nanmax(np.abs(without.masked_nll(ids) - surprise)) > 1e-4


@pytest.mark.parametrize("damage", ["text", "sizes", "shapes"])
def test_a_damaged_file_is_a_one_line_error(decoder, tmp_path, damage):
    decoder.save(tmp_path)
    if damage == "text":
        (tmp_path / FILE).write_bytes(b"not safetensors")
    else:
        weights = load_file(tmp_path / FILE)
        sizes = {"layers": "2", "heads": "2", "intermediate": "64" if damage == "shapes" else "many"}
        save_file(weights, tmp_path / FILE, sizes)
    with pytest.raises(UserError, match="mask decoder"):
        load_decoder(tmp_path, 16)


def test_no_layers_no_decoder():
    assert build_decoder(MODEL.model_copy(update={"decoder_layers": 0}), 0) is None
