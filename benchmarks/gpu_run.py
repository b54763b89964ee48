"""The stage of the GPU benchmark that is a real run: `pretrain()` with its trainer, its data and the mask decoder."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_sides import Bench, Row, peak_gb
from logfm.configs.schema.corpus import CorpusConfig
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.corpus import Corpus, build
from logfm.pretrain import pretrain
from logfm.pretrain.callbacks import read_history
from logfm.tokenizer import train

# Steps between two lines of a run's history.
_EVERY = 10


def whole_run(bench: Bench) -> Iterator[Row]:
    """Tokens a second of a run of some 50 steps: masking and loading, the trainer's callbacks and the default decoder
    included. Its text are the events' ids as numbers, so lengths are like theirs and the vocabulary is the text's own.
    """
    steps = max(2 * _EVERY, bench.curve_steps)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = (" ".join(f"{number:x}" for number in event.tolist()) for event in bench.events)
        (folder / "events.log").write_text("\n".join(lines) + "\n")
        build([str(folder / "events.log")], folder / "corpus", CorpusConfig())
        tokenizer = TokenizerConfig(vocab_size="auto", vocab_size_limit=bench.vocabulary - bench.vocabulary % 64)
        train(Corpus.open(folder / "corpus"), folder / "tokenizer", tokenizer)
        outcome = pretrain(PretrainConfig.model_validate(_settings(bench, folder, steps)))
        # The run made torch deterministic for the whole process, which would slow the rival's gathers in what follows.
        torch.use_deterministic_algorithms(False)
        rows = [row for row in read_history(folder / "out" / "run") if "device_tokens_per_second" in row]
        metrics = {} if outcome is None else outcome.tokens.metrics["train"]
    # The first line has the kernels' compilation in it.
    speeds = [row["device_tokens_per_second"] for row in rows[1:]]
    shares = [row["model_flop_utilisation"] for row in rows[1:] if "model_flop_utilisation" in row]
    yield {
        "steps": rows[-1]["step"],
        "tokens a batch": bench.batch,
        "mean length": round(metrics["tokens"] / metrics["pieces"], 1),
        "tokens/s": round(float(np.median(speeds)), 1),
        "least": round(min(speeds), 1),
        "most": round(max(speeds), 1),
        "of the peak": round(float(np.median(shares)), 4) if shares else None,
        "peak GB": peak_gb(bench.device),
    }


def _settings(bench: Bench, folder: Path, steps: int) -> dict[str, Any]:
    seldom = 10**6
    return {
        "corpus": folder / "corpus",
        "tokenizer": folder / "tokenizer",
        "out": folder / "out",
        "model": bench.sizes.model_dump() | {"decoder_layers": 1},
        "data": {
            "max_tokens": max(len(event) for event in bench.events),
            "tokens_per_batch": bench.batch,
            "validation_tokens": bench.batch,
        },
        "train": {
            "steps": steps,
            "learning_rate": 1e-4,
            "accelerator": "gpu" if bench.device.type == "cuda" else "cpu",
            "validate_every": seldom,
            "checkpoint_every": seldom,
            "logger": "none",
        },
    }
