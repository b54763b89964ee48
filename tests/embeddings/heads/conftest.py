"""Simulated telemetry, its first half a baseline, with something planted in the second; and a trained encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from logfm.embeddings import LogEncoder

PLANTED = (
    "Mar  3 23:10:09 db01 kernel: traps: kworker[4242] general protection fault ip:7f31 sp:7ffd error:0 in payload.so"
)


@pytest.fixture(scope="session")
def halves(tmp_path_factory):
    """Paths of two logs: last week's and this week's, which ends with the planted line."""
    return two_weeks(tmp_path_factory.mktemp("simulated"), seed=5)


def two_weeks(root: Path, seed: int) -> tuple[Path, Path]:
    """Write such logs."""
    from logfm.configs.schema.simulate import SimulateConfig
    from logfm.corpus.simulate import simulate

    simulate(SimulateConfig(events=2_000, attacks=0, seed=seed), root / "all")
    lines = (root / "all" / "logs" / "linux" / "auth.log").read_text().splitlines()
    middle = len(lines) // 2
    before, after = root / "before.log", root / "after.log"
    before.write_text("".join(f"{line}\n" for line in lines[:middle]))
    after.write_text("".join(f"{line}\n" for line in [*lines[middle:], PLANTED]))
    return before, after


@pytest.fixture(scope="session")
def trained(halves, tmp_path_factory):
    """A small encoder whose masked language model has read the first half."""
    from logfm.configs.schema.pretrain import ModelConfig
    from logfm.configs.schema.tokenizer import TokenizerConfig
    from logfm.corpus import Corpus, build
    from logfm.pretrain.export import write_encoder
    from logfm.pretrain.model import build as build_model
    from logfm.tokenizer import LogTokenizer, train

    root: Path = tmp_path_factory.mktemp("trained")
    build([str(halves[0])], root / "corpus", workers=1)
    train(Corpus.open(root / "corpus"), root / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=448))
    tokenizer = LogTokenizer.load(root / "tokenizer")
    config = ModelConfig(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_tokens=128)
    model = build_model(config, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _teach(model, tokenizer, halves[0].read_text().splitlines())
    folder = root / "encoder"
    folder.mkdir()
    write_encoder(model, tokenizer, 128, folder)
    return LogEncoder.load(folder)


def _teach(model, tokenizer, lines, steps=150, batch=16):
    ids = [torch.from_numpy(np.asarray(one[:126], dtype=np.int64)) for one in tokenizer.encode_batch(lines)]
    content = torch.from_numpy(~tokenizer.delimiter_mask)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    ends = torch.tensor([tokenizer.cls_id]), torch.tensor([tokenizer.sep_id])
    model.train()
    for _ in range(steps):
        rows = [torch.cat((ends[0], ids[i], ends[1])) for i in torch.randint(len(ids), (batch,)).tolist()]
        given = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id)
        there = given != tokenizer.pad_id
        masked = (torch.rand(given.shape) < 0.2) & content[given] & there
        masked &= (given != tokenizer.cls_id) & (given != tokenizer.sep_id)
        labels = torch.where(masked, given, -100)
        hidden = given.masked_fill(masked, tokenizer.mask_id)
        model(input_ids=hidden, attention_mask=there.long(), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    model.eval()
