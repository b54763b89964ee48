"""Encoding throughput beside the raw `tokenizers` library and rivals, and training memory as the corpus grows.

    python -m benchmarks.tokenizer_speed encode TOKENIZER CORPUS
    python -m benchmarks.tokenizer_speed memory CORPUS --copies 1 --copies 4 --scratch DIR

Encoding alternates the contestants in one process and takes the median; memory is the peak of a fresh process each.
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
from logfm.console import emit_json
from logfm.corpus.store import Corpus
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
