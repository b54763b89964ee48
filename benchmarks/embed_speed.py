"""Lines a second of LogEncoder against SentenceTransformer.encode on the same encoder folder.

    OMP_NUM_THREADS=1 RAYON_NUM_THREADS=1 python -m benchmarks.embed_speed DATA ENCODER

DATA is a folder of public logs. Unique syslog lines, unique JSON events, and two streams with the repetitions that
they came with: requests to a web server, and syslog lines. Ours read lines whole and, for the streams, by `--reads
message`, which leaves out time, host and process, so that messages that recur are encoded once. Rounds alternate, a
ratio is the median over rounds. The clock is CPU time of the process, all threads together (`--clock wall` for time
that passes): on a machine with other work, only that repeats.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.embed_backends import BACKENDS, with_graphs
from logfm.corpus import stream
from logfm.embeddings import LogEncoder

Encode = Callable[[list[str]], np.ndarray]
RIVAL, MESSAGES, STREAM = "SentenceTransformer", ", reads message", "stream, "


def texts(data: Path, lines: int) -> dict[str, list[str]]:
    """The sets by name."""

    def read(name: str) -> list[str]:
        return list(chain.from_iterable(batch["text"].to_pylist() for batch in stream([str(data / name)], ["text"])))

    auth = read("linux_auth/auth_ssh_bruteforce.log")
    return {
        "unique syslog lines": _spread(dict.fromkeys(auth), lines),
        "unique JSON events": _spread(dict.fromkeys(read("cloudtrail_stratus")), lines),
        f"{STREAM}web requests": read("web_logs/apache_scan_w3af.log.gz")[: 2 * lines],
        f"{STREAM}syslog lines": auth[: 2 * lines],
    }


def _spread(unique: dict[str, None], most: int) -> list[str]:
    found = list(unique)
    return [found[row] for row in np.unique(np.linspace(0, len(found) - 1, most, dtype=int))]


def seconds(
    encoders: dict[str, Encode], given: list[str], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each encoder in each round."""
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(rounds):
        for name, encode in encoders.items():
            start = clock()
            encode(given)
            taken[name].append(clock() - start)
    return taken


def contestants(folder: Path) -> dict[str, Encode]:
    """The rival first, then our backends."""
    from sentence_transformers import SentenceTransformer

    rival = SentenceTransformer(str(folder), device="cpu")
    ours = {name: LogEncoder.load(folder, config).encode for name, config in BACKENDS.items()}
    messages = {
        f"{name}{MESSAGES}": LogEncoder.load(folder, config, reads="message").encode
        for name, config in BACKENDS.items()
    }
    return {RIVAL: lambda given: rival.encode(given, show_progress_bar=False), **ours, **messages}


def report(name: str, given: Sequence[str], taken: dict[str, list[float]]) -> None:
    """One row an encoder."""
    for encoder, found in taken.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(taken[RIVAL], found, strict=True))
        rate = len(given) / statistics.median(found)
        print(f"| {name} | {len(given):,} | {len(set(given)):,} | {encoder} | {rate:,.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.monotonic
    with tempfile.TemporaryDirectory() as scratch:
        encoders = contestants(with_graphs(arguments.encoder, Path(scratch) / "encoder"))
        print("| texts | all | different | encoder | texts a second | times the rival's |\n|---|---|---|---|---|---|")
        for name, given in texts(arguments.data, arguments.lines).items():
            taking = {key: one for key, one in encoders.items() if name.startswith(STREAM) or MESSAGES not in key}
            seconds(taking, given[:64], 1, clock)
            report(name, given, seconds(taking, given, arguments.rounds, clock))


if __name__ == "__main__":
    main()
