"""Tokens a minute of a base-size encoder with random weights at the lengths of SecEncoder's Table 7.

    python -m benchmarks.embed_runtime TOKENIZER [--inputs 8]

The paper's figures are of a V100: 60,150 tokens a minute at 513 tokens and 35,791 at 1,052. The rival is Hugging Face's
own forward of the same model in the same run, float32 and bf16, one padded batch. Rounds alternate, the best counts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import DebertaV2ForMaskedLM

from benchmarks.embed_backends import BACKENDS
from logfm.configs import load
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.embeddings.backends import open_runner
from logfm.pretrain import load_encoder
from logfm.pretrain.export import write_encoder
from logfm.pretrain.model import build
from logfm.pretrain.onnx_files import write_onnx
from logfm.tokenizer import LogTokenizer

PAPER = {513: 60_150, 1052: 35_791}
Run = Callable[[list[np.ndarray]], object]


def base_folder(tokenizer: LogTokenizer, folder: Path) -> Path:
    """An encoder folder of the base recipe's size, random weights, with graphs for ONNX Runtime."""
    sizes = load(PretrainConfig, "pretrain/base").model
    folder.mkdir()
    write_encoder(build(sizes, tokenizer.vocab_size, tokenizer.pad_id, seed=0), tokenizer, max(PAPER) + 2, folder)
    write_onnx(folder, int8=True)
    return folder


def hugging_face(model: DebertaV2ForMaskedLM, bf16: bool) -> Run:
    """The rival: the states of equally long inputs, in one batch."""

    def run(ids: list[np.ndarray]) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states: torch.Tensor = model.deberta(torch.from_numpy(np.stack(ids)))[0]
            return states.mean(1)

    return run


def contestants(folder: Path) -> dict[str, Run]:
    """Each way to the vectors of some inputs, by name."""
    runners = {name: open_runner(folder, config) for name, config in BACKENDS.items()}
    layers = next(iter(runners.values())).layers
    model = load_encoder(folder).model
    ours = {name: lambda ids, one=runner: one.pool(ids, (layers,), "mean") for name, runner in runners.items()}
    return ours | {f"HF {name}": hugging_face(model, name == "bf16") for name in ("float32", "bf16")}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--inputs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    tokenizer = LogTokenizer.load(arguments.tokenizer)
    print("| tokens | backend | tokens a minute | times the paper |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        runs = contestants(base_folder(tokenizer, Path(scratch) / "base"))
        for length, paper in PAPER.items():
            # [CLS] and [SEP] are added to each.
            ids = list(np.random.default_rng(0).integers(5, tokenizer.vocab_size, (arguments.inputs, length - 2)))
            best = dict.fromkeys(runs, float("inf"))
            for _ in range(arguments.rounds):
                for name, run in runs.items():
                    start = time.perf_counter()
                    run(ids)
                    best[name] = min(best[name], time.perf_counter() - start)
            for name, seconds in best.items():
                rate = 60 * arguments.inputs * length / seconds
                print(f"| {length} | {name} | {rate:,.0f} | {rate / paper:.2f} |", flush=True)


if __name__ == "__main__":
    main()
