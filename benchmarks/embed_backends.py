"""Each backend of an encoder folder on Loghub: cosine to float32, MAP of search, lines a second.

    python -m benchmarks.embed_backends DATA ENCODER

DATA is the folder that holds loghub_2k. The graphs are written to a temporary copy of the encoder. Lines a second are
of this process's CPU time, all threads together: rounds of the backends alternate, and the best of each counts.
"""

import argparse
import csv
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.tokenizer_data import CHOICE_SYSTEMS, loghub_lines
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import LogEncoder
from logfm.evaluation.comparison import compare
from logfm.pretrain.onnx_files import write_onnx

BACKENDS = {
    "torch": EncoderConfig(),
    "torch, bf16": EncoderConfig(bf16=True),
    "onnx": EncoderConfig(backend="onnx"),
    "onnx-int8": EncoderConfig(backend="onnx-int8"),
}


def with_graphs(encoder: Path, folder: Path) -> Path:
    """A copy of an encoder folder with graphs for ONNX Runtime in it."""
    shutil.copytree(encoder, folder)
    write_onnx(folder, int8=True)
    return folder


def measure(
    data: Path, system: str, encoders: dict[str, LogEncoder], rounds: int
) -> list[tuple[str, float, float, float, float]]:
    """Of each backend: its name, the least and the mean cosine, MAP, and lines a second of CPU time."""
    folder = data / "loghub_2k"
    lines = loghub_lines(folder, system)
    with (folder / system / f"{system}_2k.log_structured_corrected.csv").open(encoding="utf-8", newline="") as file:
        templates = [row["EventId"] for row in csv.DictReader(file)]
    vectors: dict[str, np.ndarray] = {}
    seconds = dict.fromkeys(encoders, float("inf"))
    for _ in range(rounds):
        for name, encoder in encoders.items():
            start = time.process_time()
            vectors[name] = encoder.encode(lines)
            seconds[name] = min(seconds[name], time.process_time() - start)
    compared = compare(lines, templates, {name: _known(lines, found) for name, found in vectors.items()})
    scores = {score.name: score for score in compared.scores}
    rows = []
    for name in encoders:
        cosines = _cosines(vectors[name], vectors["torch"])
        found = scores[name].metrics["map"].value
        rows.append((name, float(cosines.min()), float(cosines.mean()), found, len(set(lines)) / seconds[name]))
    return rows


def _known(lines: list[str], vectors: np.ndarray) -> Callable[[Sequence[str]], np.ndarray]:
    """The vectors of lines that were encoded before."""
    row_of = {line: row for row, line in enumerate(lines)}
    return lambda wanted: vectors[[row_of[line] for line in wanted]]


def _cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    return cosines


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = with_graphs(arguments.encoder, Path(scratch) / "encoder")
        encoders = {name: LogEncoder.load(folder, config) for name, config in BACKENDS.items()}
        print("| system | backend | cosine, least | mean | MAP | against torch | lines a CPU second |")
        print("|---|---|---|---|---|---|---|")
        for system in CHOICE_SYSTEMS:
            rows = measure(arguments.data, system, encoders, arguments.rounds)
            for name, least, mean, found, rate in rows:
                against = found - rows[0][3]
                print(f"| {system} | {name} | {least:.6f} | {mean:.6f} | {found:.4f} | {against:+.4f} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
