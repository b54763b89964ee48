"""Seconds to score a session of 500 log lines with an encoder and a head, and what a day of 50,000 sessions costs.

    python -m benchmarks.embed_session DATA ENCODER [--cost-per-hour 0.10]

DATA is a folder of public logs. Sessions are 500 lines of linux_auth that differ, and 500 consecutive ones as they
came, which is a real stream; each is read whole, and by `--reads message`, which leaves out time, host and process. The
head is the distance to the nearest of 5,000 other lines of the file (what `logfm detect --baseline` does), which is
fitted before the clock starts. AMAN (the LogAtlas paper) takes 0.2 to 0.5 s a session on an RTX 3080 and 10 to 50
dollars a day.
"""

import argparse
import statistics
import tempfile
import time
from itertools import chain, product
from pathlib import Path

from benchmarks.embed_backends import BACKENDS, with_graphs
from logfm.configs.schema.embeddings import DetectConfig
from logfm.corpus import stream
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import fitted

LINES, BASELINE = 500, 5000
SESSIONS_A_DAY = 50_000


def sessions(data: Path) -> dict[str, tuple[list[str], list[str]]]:
    """The sessions by name, each with the lines that are its baseline."""
    name = str(data / "linux_auth" / "auth_ssh_bruteforce.log")
    lines = list(chain.from_iterable(batch["text"].to_pylist() for batch in stream([name], ["text"])))
    baseline, rest = lines[:BASELINE], lines[BASELINE:]
    different = list(dict.fromkeys(rest))[:LINES]
    return {
        "500 lines, all new": (different, baseline),
        "500 consecutive lines of a stream": (rest[:LINES], baseline),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cost-per-hour", type=float, default=0.10, help="dollars for a machine of this size")
    arguments = parser.parse_args()
    given = sessions(arguments.data)
    print("| session | reads | different | backend | seconds | dollars a day for 50,000 |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = with_graphs(arguments.encoder, Path(scratch) / "encoder")
        for (backend, config), reads in product(BACKENDS.items(), ("line", "message")):
            encoder = LogEncoder.load(folder, config, reads=reads)
            for name, (lines, baseline) in given.items():
                score = fitted(encoder.encode(baseline), DetectConfig(method="nearest"))
                seconds = []
                for _ in range(arguments.rounds):
                    start = time.perf_counter()
                    score(encoder.encode(lines))
                    seconds.append(time.perf_counter() - start)
                taken = statistics.median(seconds)
                dollars = taken * SESSIONS_A_DAY / 3600 * arguments.cost_per_hour
                different = len(set(encoder.read(lines)))
                print(f"| {name} | {reads} | {different} | {backend} | {taken:.3f} | {dollars:.2f} |", flush=True)


if __name__ == "__main__":
    main()
