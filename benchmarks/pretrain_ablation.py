"""What delimiter-aware masking and the mask decoder give: encoders of nano's size, of equal tokens and time of day.

Usage: python -m benchmarks.pretrain_ablation DATA --out DIR [--tokens 800000] [--seeds 3]
Training: OTRF Windows events and product_samples, near-duplicates dropped. Masking 30 % of the content tokens against
30 % of all tokens, each with the mask decoder and without; every run reads as many tokens in the same order for a seed.
Judged by (1) the share of hidden content tokens that are guessed right (15 %, the same ones for all) in sources that no
run saw, the mean over sources, and (2) log search MAP on raw lines of Loghub's Linux, Android, BGL and Hadoop, the four
systems that choices may look at. Finished runs under DIR are used again, so an interrupted benchmark goes on.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.tokenizer_data import CHOICE_SYSTEMS, loghub_lines
from logfm.configs import load
from logfm.configs.schema.corpus import CorpusConfig
from logfm.configs.schema.pretrain import MaskingConfig, PretrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus import Corpus, build
from logfm.embeddings import LogEncoder
from logfm.evaluation.comparison import compare
from logfm.pretrain import load_encoder, pretrain
from logfm.pretrain.data import Masker
from logfm.pretrain.encoder import PretrainedEncoder
from logfm.pretrain.forward import hidden_states, predictions
from logfm.pretrain.masking import maskable_ids
from logfm.pretrain.packing import cut_by_tokens
from logfm.tokenizer import train

TRAINING = ("otrf_security_datasets/windows/execution", "otrf_security_datasets/windows/discovery", "product_samples")
UNSEEN = ("linux_auth", "web_logs", "zeek_wrccdc", "cloudtrail_stratus", "service_auth_logs", "cowrie_honeypot")
VARIANTS = {
    f"{masking}, {decoder}": (masking == "all tokens", int(decoder == "mask decoder"))
    for masking, decoder in product(("content tokens", "all tokens"), ("mask decoder", "no decoder"))
}
_EVENTS, _TOKENS, _BATCH = 400, 256, 4096


def run(out: Path, corpus: Path, tokenizer: Path, tokens: int, seed: int, variant: tuple[bool, int]) -> Path:
    """Train one encoder, unless it is there; returns its folder."""
    delimiters, layers = variant
    config = {
        "corpus": corpus, "tokenizer": tokenizer, "out": out, "seed": seed,
        "model": load(PretrainConfig, "pretrain/nano").model.dump() | {"decoder_layers": layers},
        "masking": {"delimiters": delimiters},
        "data": {"view": "near", "max_tokens": _TOKENS, "tokens_per_batch": _BATCH, "validation_tokens": 20_000},
        "train": {"steps": tokens // _BATCH, "validate_every": tokens // _BATCH, "accelerator": "cpu"},
    }  # fmt: skip
    pretrain(PretrainConfig.model_validate(config))
    return out / "encoder"


def accuracy(encoder: PretrainedEncoder, texts: list[str]) -> float:
    """Share of hidden content tokens that are guessed right; the same ones are hidden for every encoder."""
    tokenizer = encoder.tokenizer
    specials = np.flatnonzero(tokenizer.byte_lengths == 0)
    maskable = maskable_ids(tokenizer.delimiter_mask, specials, delimiters=False)
    masker = Masker(maskable, tokenizer.mask_id, MaskingConfig(), seed=1)
    ends = [tokenizer.cls_id], [tokenizer.sep_id]
    events = [np.concatenate([ends[0], ids[: _TOKENS - 2], ends[1]]) for ids in tokenizer.encode_batch(texts)]
    lengths = np.array([len(event) for event in events])
    right = total = 0
    with torch.inference_mode():
        for number, rows in enumerate(cut_by_tokens(np.arange(len(events)), lengths, _BATCH)):
            batch = masker.batch([events[row] for row in rows], number, 0.15)
            states = hidden_states(encoder.model, batch.packed)
            scores = predictions(encoder.model, encoder.decoder, states, batch.packed, batch.positions_M)
            right += int((scores.argmax(-1) == batch.targets_M).sum())
            total += len(batch.targets_M)
    return right / total


def unseen_texts(data: Path, out: Path) -> dict[str, list[str]]:
    """Evenly spaced different texts of each source that no run trains on."""
    texts = {}
    for name in UNSEEN:
        build([str(data / name)], out / name, CorpusConfig())
        batches = Corpus.open(out / name).batches(["text"], view="exact")
        lines = [text for batch in batches for text in batch["text"].to_pylist()]
        texts[name] = [lines[row] for row in np.unique(np.linspace(0, len(lines) - 1, _EVENTS, dtype=int))]
    return texts


def search_maps(data: Path, folders: Mapping[str, Path]) -> dict[str, list[float]]:
    """MAP on each of the four systems, of each encoder and of the baselines."""
    encoders = {name: LogEncoder.load(folder).encode for name, folder in folders.items()}
    maps: dict[str, list[float]] = defaultdict(list)
    for system in CHOICE_SYSTEMS:
        folder = data / "loghub_2k"
        with (folder / system / f"{system}_2k.log_structured_corrected.csv").open(encoding="utf-8", newline="") as file:
            templates = [row["EventId"] for row in csv.DictReader(file)]
        for score in compare(loghub_lines(folder, system), templates, encoders).scores:
            maps[score.name].append(score.metrics["map"].value)
    return dict(maps)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=800_000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    near = CorpusConfig(dedup=("exact", "near"))
    build([str(data / name) for name in TRAINING], out / "corpus", near)
    train(Corpus.open(out / "corpus"), out / "tokenizer", TokenizerConfig(vocab_size=8192))
    folders = {
        f"{name} #{seed}": run(
            out / f"{name}-{seed}".replace(", ", "-").replace(" ", "-"),
            out / "corpus", out / "tokenizer", arguments.tokens, seed, variant,
        )
        for seed in range(arguments.seeds)
        for name, variant in VARIANTS.items()
    }  # fmt: skip
    texts = unseen_texts(data, out / "unseen")
    rates = {
        name: [accuracy(load_encoder(folder), part) for part in texts.values()] for name, folder in folders.items()
    }
    maps = search_maps(data, folders)
    print("| variant |", " | ".join([*UNSEEN, "accuracy", *CHOICE_SYSTEMS, "MAP"]), "|")
    print("|---" * (len(UNSEEN) + len(CHOICE_SYSTEMS) + 3) + "|")
    for variant in VARIANTS:
        names = [name for name in folders if name.rpartition(" #")[0] == variant]
        cells = [*_cells([rates[name] for name in names]), *_cells([maps[name] for name in names])]
        print("|", " | ".join([variant, *cells]), "|")
    for name in maps.keys() - folders.keys():
        print("|", " | ".join([name, *["–"] * (len(UNSEEN) + 1), *_cells([maps[name]])]), "|")


def _cells(runs: list[list[float]]) -> list[str]:
    """Means over seeds, and last the mean of all with the lowest and highest seed's."""
    values = np.array(runs)
    whole = values.mean(1)
    return [*(f"{mean:.3f}" for mean in values.mean(0)), f"{whole.mean():.3f} ({whole.min():.3f}–{whole.max():.3f})"]


if __name__ == "__main__":
    main()
