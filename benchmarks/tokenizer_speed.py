"""Encoding throughput beside the raw library and rivals, its share of a training step, and the memory of training.

    python -m benchmarks.tokenizer_speed encode TOKENIZER CORPUS
    python -m benchmarks.tokenizer_speed memory CORPUS --copies 1 --copies 4 --scratch DIR
    python -m benchmarks.tokenizer_speed share TOKENIZER CORPUS

Encoding alternates the contestants in one process and takes the median; memory is the peak of a fresh process each.
The share is what encoding a batch costs of a training step on it; logfm encodes once, before the first step.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tokenizers import Tokenizer

from logfm.artifacts import produce
from logfm.configs.base import load
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.console import emit_json
from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.pretrain.tokens import cut
from logfm.tokenizer import LogTokenizer
from logfm.tokenizer.files import TOKENIZER
from logfm.tokenizer.rivals import installed
from logfm.tokenizer.sampling import draw

app = typer.Typer()
_BATCH = 1024


@app.command()
def encode(tokenizer: Path, corpus: Path, rounds: int = 5, mib: int = 32) -> None:
    """MB a second of text, one row a contestant, and ours over the raw library's."""
    ours = LogTokenizer.load(tokenizer)
    raw = Tokenizer.from_file(str(tokenizer / TOKENIZER))
    drawn = draw(Corpus.open(corpus), mib * 2**20, 0).batches()
    texts = [text for batch in drawn for text in batch["text"].to_pylist()]
    batches = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6

    def library(batch: list[str]) -> Any:
        return [encoding.ids for encoding in raw.encode_batch(batch, add_special_tokens=False)]

    def library_fast(batch: list[str]) -> Any:
        return [encoding.ids for encoding in raw.encode_batch_fast(batch, add_special_tokens=False)]

    contestants: dict[str, Callable[[list[str]], Any]] = {
        "logfm": ours.encode_batch,
        "tokenizers": library,
        "tokenizers_fast": library_fast,
    }
    contestants |= {rival.name: rival.counts for rival in installed()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            for batch in batches:
                contestant(batch)
            seconds[name].append(time.perf_counter() - start)
    speed = {name: megabytes / statistics.median(times) for name, times in seconds.items()}
    ratios = {
        f"logfm_over_{name}": float(np.median(np.array(seconds[name]) / np.array(seconds["logfm"])))
        for name in ("tokenizers", "tokenizers_fast")
    }
    emit_json({"megabytes_per_second": speed, **ratios, "rounds": seconds})


@app.command()
def share(tokenizer: Path, corpus: Path, rounds: int = 5, tokens: int = 8192, recipe: str = "pretrain/nano") -> None:
    """Seconds to encode batches of events, seconds of a training step on each, and the one over the other.

    The step is that of a recipe's model, decoder and masking: mask, pack, forward, backward, AdamW. Medians.
    """
    config = load(PretrainConfig, recipe)
    planner = LogTokenizer.load(tokenizer)
    batches = _batches_of_texts(planner, Corpus.open(corpus), tokens, rounds + 1, config.data.max_tokens)
    if len(batches) < 2:
        raise UserError(f"fewer events than two batches of {tokens} tokens", corpus, "Use a lower --tokens.")
    ours = LogTokenizer.load(tokenizer)  # one whose cache has not seen the texts
    step = _step(ours, config)
    rows = []
    for number, texts in enumerate(batches):
        start = time.perf_counter()
        encoded = ours.encode_batch(texts)
        between = time.perf_counter()
        pieces = [piece for ids in encoded for piece in cut(ids, ours, config.data.max_tokens)]
        step(pieces, number)
        seconds = between - start, time.perf_counter() - between
        rows.append({"tokens": sum(map(len, pieces)), "encode_seconds": seconds[0], "step_seconds": seconds[1]})
    rows = rows[1:]  # the first one warms up
    shares = [row["encode_seconds"] / row["step_seconds"] for row in rows]
    emit_json({"share_of_step": statistics.median(shares), "recipe": recipe, "rounds": rows})


def _batches_of_texts(
    tokenizer: LogTokenizer, corpus: Corpus, tokens: int, count: int, max_tokens: int
) -> list[list[str]]:
    """Drawn events, shuffled, in batches of at least `tokens` tokens, special ones included."""
    drawn = draw(corpus, 8 * count * tokens, 0).batches()
    texts = np.array([text for batch in drawn for text in batch["text"].to_pylist()], dtype=object)
    np.random.default_rng(0).shuffle(texts)
    found: list[list[str]] = [[]]
    size = 0
    for text in texts.tolist():
        found[-1].append(text)
        size += sum(map(len, cut(tokenizer.encode_batch([text])[0], tokenizer, max_tokens)))
        if size >= tokens:
            found.append([])
            size = 0
    return found[:-1][:count]


def _step(tokenizer: LogTokenizer, config: PretrainConfig) -> Callable[[list[np.ndarray], int], None]:
    """One training step on the CPU in bf16, as `pretrain_speed` takes it."""
    import torch

    from logfm.allocator import reuse_freed_memory
    from logfm.pretrain.data import Masker
    from logfm.pretrain.decoder import build_decoder
    from logfm.pretrain.forward import hidden_states, prediction_loss
    from logfm.pretrain.model import build

    reuse_freed_memory()
    model = build(config.model, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    decoder = build_decoder(config.model, seed=0)
    optimizer = torch.optim.AdamW([*model.parameters(), *(decoder.parameters() if decoder else ())])
    masker = Masker.of(tokenizer, config.masking, 0)

    def step(pieces: list[np.ndarray], number: int) -> None:
        batch = masker.batch(pieces, number, config.masking.share)
        with torch.autocast("cpu", torch.bfloat16):
            states = hidden_states(model, batch.packed)
            loss, _, _ = prediction_loss(model, decoder, states, batch.packed, batch.positions_M, batch.targets_M)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


@app.command()
def memory(
    corpus: Path,
    scratch: Annotated[Path, typer.Option(help="Empty folder for the copies.")],
    copies: Annotated[list[int], typer.Option(help="Sizes of the input, as multiples of the corpus.")],
) -> None:
    """Peak memory (bytes) and seconds of training on 1, 2, ... copies of a corpus, each in a fresh process."""
    rows = []
    for count in copies:
        enlarged = enlarge(Corpus.open(corpus), scratch / f"corpus{count}", count)
        out = scratch / f"tokenizer{count}"
        command = [sys.executable, "-m", "logfm.cli", "tokenizer", "train", str(enlarged), "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        manifest = json.loads((out / "manifest.json").read_bytes())
        size = sum(batch["text"].nbytes for batch in Corpus.open(enlarged).batches(["text"]))
        rows.append({"bytes": size, **{key: manifest[key] for key in ("peak_memory_bytes", "seconds")}})
        shutil.rmtree(enlarged)
    emit_json(rows)


def enlarge(corpus: Corpus, out: Path, copies: int) -> Path:
    """A corpus of so many copies of another one's events, without the view that would drop them again."""
    with produce(out, stage="corpus", config={"copies": copies}, inputs={"corpus": corpus.manifest.hash}) as work:
        (work.path / "events").mkdir()
        shards = sorted((corpus.path / "events").glob("part-*.parquet"))
        for number in range(copies * len(shards)):
            shutil.copyfile(shards[number % len(shards)], work.path / "events" / f"part-{number:05d}.parquet")
        shutil.copyfile(corpus.path / "rejects.parquet", work.path / "rejects.parquet")
    return out


if __name__ == "__main__":
    app()
