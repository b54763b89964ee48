"""Compare pre-tokenisation policies: one choice changed at a time, trained on one corpus, counted on held-out text.

    python -m benchmarks.tokenizer_policies CORPUS --loghub DIR --out policies.csv

Choices may look only at OTRF and at Loghub's Linux, Android, BGL and Hadoop. Files of the corpus are held out whole
(one in five, by the hash of their name). Training draws equal bytes a source; every policy gets the same text. The
columns that begin with bpb_ are bits per byte of a small encoder (see `tokenizer_encoder`), trained once through the
same texts under each policy with a vocabulary of its own of 8,192 tokens.
"""

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from tokenizers import Tokenizer

from benchmarks.tokenizer_data import CHOICE_SYSTEMS, loghub_lines
from benchmarks.tokenizer_encoder import CHARACTERS, bits_per_byte
from logfm.configs.schema.tokenizer import PolicyConfig, TokenizerConfig
from logfm.console import say
from logfm.corpus.store import Corpus
from logfm.tokenizer.log_tokenizer import pieces_of
from logfm.tokenizer.policy import is_delimiter
from logfm.tokenizer.sampling import equal_shares
from logfm.tokenizer.training import learn

BASE = PolicyConfig()


def variants() -> dict[str, PolicyConfig]:
    """The base and every policy that differs from it in one choice."""
    found = {"base": BASE}
    for name, info in PolicyConfig.model_fields.items():
        for value in info.annotation.__args__:  # type: ignore[union-attr]
            if value != getattr(BASE, name):
                found[f"{name}={value}"] = BASE.model_copy(update={name: value})
    return found


def held_out(file: str) -> bool:
    """Whether a file is kept from training."""
    return zlib.crc32(file.encode()) % 5 == 0


def texts(corpus: Corpus, budget: int, held: bool, prefix: str = "", seed: int = 0) -> list[str]:
    """About `budget` bytes of distinct events, equal a source, from files that are held out or not.

    Training repeats small sources as `logfm tokenizer train` does.
    """

    def rows() -> Iterator[tuple[str, str]]:
        for batch in corpus.batches(["text", "source", "file"], view="exact"):
            for row in batch.to_pylist():
                if held_out(row["file"]) == held and row["source"].startswith(prefix):
                    yield row["text"], row["source"]

    sizes: dict[str, int] = {}
    for text, source in rows():
        sizes[source] = sizes.get(source, 0) + len(text.encode())
    repeats = 1 if held else TokenizerConfig().max_repeats
    largest = max(sizes.values(), default=0)
    shares = equal_shares({name: min(repeats * size, largest) for name, size in sizes.items()}, budget)
    draw = np.random.default_rng(seed)
    return [text for text, source in rows() for _ in range(int(shares[source] / sizes[source] + draw.random()))]


def measure(specification: dict, policy: PolicyConfig, sets: dict[str, list[str]]) -> dict[str, float]:
    """Tokens an event on each set, and shares of delimiter and single-byte tokens on all of them."""
    backend = Tokenizer.from_str(orjson.dumps(specification).decode())
    pieces = pieces_of(backend)
    mask = np.array([bool(piece) and is_delimiter(piece, policy) for piece in pieces])
    lengths = np.array([len(piece) for piece in pieces])
    used = np.zeros(len(pieces), dtype=np.int64)
    row: dict[str, float] = {}
    for name, lines in sets.items():
        ids = np.concatenate([e.ids for e in backend.encode_batch_fast(lines, add_special_tokens=False)])
        used += np.bincount(ids.astype(np.int64), minlength=len(pieces))
        row[name] = round(len(ids) / len(lines), 2)
    row["delimiters"] = round(float(used[mask].sum() / used.sum()), 3)
    row["single_bytes"] = round(float(used[lengths == 1].sum() / used.sum()), 3)
    row["vocabulary_used"] = round(float((used > 0).mean()), 3)
    row["vocab_size"] = len(pieces)
    return row


def encode(training: list[str], mib: float, sets: dict[str, list[str]], policy: PolicyConfig) -> dict[str, float]:
    """Bits per byte of a small encoder under a policy, on each set."""
    config = TokenizerConfig(vocab_size="auto", vocab_size_limit=8192, policy=policy)
    backend = Tokenizer.from_str(orjson.dumps(learn(iter(training), config, "the texts")).decode())
    lengths = np.array([len(piece) for piece in pieces_of(backend)])
    shuffled = np.random.default_rng(0).permutation(len(training))
    chosen: list[str] = []
    size = 0.0
    for row in shuffled:
        if size >= mib * 2**20:
            break
        chosen.append(training[row][:CHARACTERS])
        size += len(chosen[-1])
    few = {name: [line[:CHARACTERS] for line in lines[:600]] for name, lines in sets.items()}
    found = bits_per_byte(backend, lengths, chosen, few)
    return {"bpb_mean": round(float(np.mean(list(found.values()))), 3), **{f"bpb_{k}": v for k, v in found.items()}}


def main(
    corpus: Path,
    loghub: Annotated[Path, typer.Option(help="Folder loghub_2k.")],
    out: Path = Path("policies.csv"),
    sample_mib: int = 48,
    vocab_size: int = 29_952,
    encoder_mib: Annotated[float, typer.Option(help="Text that the small encoder is trained on; 0 leaves it out.")] = 4,
    held_prefix: Annotated[str, typer.Option(help="Sources of the corpus that are counted.")] = "otrf",
) -> None:
    """Train one tokenizer a policy and write a row each."""
    opened = Corpus.open(corpus)
    training = texts(opened, sample_mib * 2**20, held=False)
    sets = {"otrf": texts(opened, 8 * 2**20, held=True, prefix=held_prefix)}
    sets |= {system: loghub_lines(loghub, system) for system in CHOICE_SYSTEMS}
    rows = []
    for name, policy in variants().items():
        config = TokenizerConfig(vocab_size="auto", vocab_size_limit=vocab_size, policy=policy)
        specification = learn(iter(training), config, corpus)
        rows.append({"policy": name, **measure(specification, policy, sets)})
        if encoder_mib:
            rows[-1] |= encode(training, encoder_mib, sets, policy)
        say(str(rows[-1]))
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    typer.run(main)
