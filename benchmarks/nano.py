"""`nano`, the encoder that ships, from data to package.

Usage: python -m benchmarks.nano DATA --wheels WHEELS --out OUT [--steps 800]
Corpus and canaries (benchmarks/nano_data.py), tokenizer, masked tokens (configs/pretrain/nano.yaml), pairs of views
(configs/pretrain/nano-contrast.yaml), memorisation audit, weights in 16 bits and a graph in 8-bit integers; OUT/package
is what they end in. Finished stages are used again, and a training that was killed goes on. `--ship RESULTS` then puts
it into the package, its card with the results.csv of `logfm eval run` over OUT/package.
"""

import argparse
import json
import shutil
from pathlib import Path

from benchmarks import memorisation, nano_data, nano_messages
from logfm.artifacts import write_atomic
from logfm.configs import load
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus import Corpus
from logfm.errors import LogfmError
from logfm.pretrain import export_checkpoint, load_encoder, pretrain
from logfm.pretrain.export import Extras
from logfm.pretrain.shipped import NANO, SHIPPED
from logfm.tokenizer import train as train_tokenizer

TOKENIZER = TokenizerConfig(vocab_size=8192)
LICENCE = "Apache-2.0"
STEPS = 800
"""Of the stage of masked tokens, a quarter of an hour on two CPU cores; twice as long gave nothing for search
(RESULTS.md). Steps, not minutes, so that a faster machine gives no other encoder."""


def train(out: Path, steps: int) -> None:
    """Tokenizer and both stages."""
    corpus = Corpus.open(out / "corpus")
    train_tokenizer(corpus, out / "tokenizer", TOKENIZER)
    first, second = out / "masked", out / "contrast"
    places = [f"corpus={corpus.path}", f"tokenizer={out / 'tokenizer'}", f"out={first}", f"train.steps={steps}"]
    pretrain(load(PretrainConfig, "pretrain/nano", [*places, "data.view=near", "data.source_events=8000"]))
    start = first / "encoder"
    places = [f"corpus={corpus.path}", f"tokenizer={start}", f"start.encoder={start}", f"out={second}",
              f"contrast.templates={out / 'messages' / nano_messages.TEMPLATES}"]  # fmt: skip
    pretrain(load(PretrainConfig, "pretrain/nano-contrast", places))


def audit(out: Path) -> None:
    """What the finished encoder remembers of the canaries."""
    encoder = load_encoder(out / "contrast" / "encoder")
    document = memorisation.measure(encoder, json.loads((out / "canaries" / "canaries.json").read_bytes()), seed=2)
    originals = out / "originals.txt"
    found = memorisation.originals_in(Corpus.open(out / "corpus"), originals)
    write_atomic(out / "audit.json", (json.dumps(document | found, indent=1) + "\n").encode())


def extras(out: Path, results: Path | None) -> Extras:
    """What the package holds besides the model."""
    return Extras(int8=True, half=True, results=results, audit=out / "audit.json", licence=LICENCE, name=NANO)


def ship(out: Path, results: Path) -> None:
    """Write the encoder into the package."""
    # The old one stays until the new one is whole.
    new = SHIPPED.with_name(f".{SHIPPED.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    export_checkpoint(out / "contrast" / "encoder", new, extras(out, results))
    shutil.rmtree(SHIPPED, ignore_errors=True)
    new.rename(SHIPPED)


def main() -> None:
    """Do what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the stage of masked tokens")
    parser.add_argument("--ship", type=Path, metavar="RESULTS", help="results.csv of the evaluation")
    arguments = parser.parse_args()
    out = arguments.out
    try:
        if arguments.ship is not None:
            ship(out, arguments.ship)
            return
        if not (out / "corpus").is_dir():
            nano_data.make(arguments.data, arguments.wheels, out)
        train(out, arguments.steps)
        audit(out)
        export_checkpoint(out / "contrast" / "encoder", out / "package", extras(out, None))
    except LogfmError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
