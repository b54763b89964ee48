"""Continued pretraining on real logs: what replay and added vocabulary gain on the new data and lose on the old.

Usage: python -m benchmarks.pretrain_continue DATA --out DIR [--steps 200]
A small encoder learns Linux and web logs (linux_auth, web_logs) and goes on with Windows attack events
(evtx_attack_samples): with the encoder's tokenizer or 1,024 tokens more, without replay or with a quarter of it, in as
many steps of as many tokens each. Two measures on each corpus's held-out events: the run's own bits per byte of masked
tokens, and, as masked tokens of another vocabulary are other stretches of text, bits per byte of words hidden whole,
the same ones for all, in the first 512 characters of at most 200 events.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy

from benchmarks.tokenizer_encoder import CHARACTERS, hide, in_batches
from logfm.configs.schema.corpus import CorpusConfig
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.configs.schema.tokenizer import ExtensionConfig, TokenizerConfig
from logfm.corpus import Corpus, build
from logfm.pretrain import load_encoder, pretrain
from logfm.pretrain.continuing_report import SIDES, changes, write
from logfm.pretrain.data import packed_batch
from logfm.pretrain.forward import hidden_states, predictions
from logfm.pretrain.tokens import split_by_time
from logfm.tokenizer import LogTokenizer, extend, train

OLD, NEW = ("linux_auth", "web_logs"), ("evtx_attack_samples",)
_TEXTS = 200


def settings(out: Path, corpus: Corpus, tokenizer: Path, train: dict[str, object], **more: object) -> PretrainConfig:
    """The configuration that all runs share."""
    return PretrainConfig.model_validate(
        {
            "corpus": corpus.path,
            "tokenizer": tokenizer,
            "out": out,
            "data": {"max_tokens": 256, "tokens_per_batch": 2048, "validation_tokens": 20_000},
            "train": {"validate_every": 80, "checkpoint_every": 1000, "accelerator": "cpu"} | train,
        }
        | more
    )


def held_out(corpus: Corpus, config: PretrainConfig) -> list[str]:
    """Evenly spaced texts that no run trains on, cut short."""
    texts = [text for batch in corpus.batches(["text"], view=config.data.view) for text in batch["text"].to_pylist()]
    rows = np.flatnonzero(split_by_time(corpus, config.data).validation)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _TEXTS, dtype=int))]
    return [texts[row][:CHARACTERS] for row in chosen]


def words_bits(folder: Path, texts: list[str]) -> float:
    """Bits per byte of an encoder on hidden words, the same ones whatever its vocabulary."""
    encoder = load_encoder(folder)
    sizes = torch.from_numpy(encoder.tokenizer.byte_lengths.astype(np.float64))
    nats = size = 0.0
    with torch.no_grad():
        for masked in in_batches(hide(Tokenizer.from_file(str(folder / "tokenizer.json")), texts, 0.15, 2)):
            batch = packed_batch(masked)
            states = hidden_states(encoder.model, batch.packed)
            scores = predictions(encoder.model, encoder.decoder, states, batch.packed, batch.positions_M)
            nats += float(cross_entropy(scores, batch.targets_M, reduction="sum"))
            size += float(sizes[batch.targets_M].sum())
    return nats / math.log(2) / size


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    out, steps = arguments.out, arguments.steps
    for name, inputs in (("old", OLD), ("new", NEW)):
        build([str(arguments.data / one) for one in inputs], out / name, CorpusConfig())
    old, new = Corpus.open(out / "old"), Corpus.open(out / "new")
    train(old, out / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=4096))
    model = {"hidden_size": 128, "layers": 2, "heads": 2, "intermediate_size": 512, "position_buckets": 32}
    first = settings(out / "first", old, out / "tokenizer", {"steps": 2 * steps, "learning_rate": 2e-3}, model=model)
    pretrain(first)
    encoder = out / "first" / "encoder"
    extend(LogTokenizer.load(encoder), new, out / "extended", ExtensionConfig(add=1024))
    runs, folders = {}, {"the encoder it started from": encoder}
    for vocabulary, tokenizer in (("own vocabulary", encoder), ("1,024 tokens more", out / "extended")):
        for share in (0.0, 0.25):
            name = f"{vocabulary}, replay {share:g}"
            start = {"encoder": encoder, "replay": old.path, "replay_share": share}
            folder = out / f"{tokenizer.name}-{share:g}"
            pretrain(settings(folder, new, tokenizer, {"steps": steps, "learning_rate": 1e-3}, start=start))
            runs[name], folders[name] = folder / "run", folder / "encoder"
    write(runs, out / "report.html")
    texts = held_out(new, first), held_out(old, first)
    print("| run | new: bits/byte, accuracy | old: bits/byte, accuracy | hidden words: new | old |")
    print("|---|---|---|---|---|")
    for name, folder in folders.items():
        found = changes(runs[name]) if name in runs else {}
        cells = [
            f"{bits.before:.3f} → {bits.after:.3f}, {right.before:.3f} → {right.after:.3f}"
            for prefix in SIDES
            if found
            for bits, right in [(found[f"{prefix}bits_per_byte"], found[f"{prefix}accuracy"])]
        ]
        words = [f"{words_bits(folder, part):.3f}" for part in texts]
        print("|", " | ".join([name, *(cells or ["–", "–"]), *words]), "|")


if __name__ == "__main__":
    main()
