"""For an ML team: from raw logs to an encoder of your own, stage by stage, from Python.

Usage: python examples/first_encoder.py /var/log --out out/mine [--minutes 30]
"""

import argparse
from pathlib import Path

from logfm.configs.schema.pretrain import DataConfig, PretrainConfig, TrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus import Corpus, build
from logfm.pretrain import pretrain
from logfm.tokenizer import train


def main() -> None:
    """Every stage is a folder with a manifest; run it again and it goes on where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    arguments = parser.parse_args()

    build(arguments.inputs, arguments.out / "corpus")
    corpus = Corpus.open(arguments.out / "corpus")
    train(corpus, arguments.out / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=8192))
    outcome = pretrain(
        PretrainConfig(
            corpus=corpus.path,
            tokenizer=arguments.out / "tokenizer",
            out=arguments.out,
            data=DataConfig(max_tokens=256, tokens_per_batch=4096),
            train=TrainConfig(epochs=20, minutes=arguments.minutes),
        )
    )
    if outcome is not None:
        print(f"bits per byte on held-out events: {outcome.run.metrics['validation_bits_per_byte']:.3f}")
        print(f"encoder: {arguments.out / 'encoder'}")


if __name__ == "__main__":
    main()
