"""Memory that `logfm corpus build` takes for each further unique event; prints a Markdown table and the growth.

Usage: python benchmarks/corpus_memory.py --scratch DIR [--millions 0.5 1 2 4] [--dedup exact] [--file-lines 250000]
Every line is different and has a template of its own: nothing can be merged. Each build is a process of its own; peaks
are resident bytes, of the building process and of the largest worker, as the manifest has them. The growth is the slope
of a least-squares line through the sum of both.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

LETTERS = bytes.maketrans(b"0123456789abcdef", b"ghijklmnopabcdef")


def write_lines(folder: Path, count: int, file_lines: int) -> None:
    """Write `count` different short lines of letters alone, `file_lines` a file."""
    folder.mkdir(parents=True)
    for start in range(0, count, file_lines):
        # Line by line: what this process holds would count as the peak of those that it starts.
        with (folder / f"{start:09d}.log").open("wb") as stream:
            for number in range(start, min(start + file_lines, count)):
                word = hashlib.md5(b"%d" % number).hexdigest()[:16].encode().translate(LETTERS)
                stream.write(b"user %s logged in from the console\n" % word)


def measure(count: int, file_lines: int, dedup: str, scratch: Path) -> dict[str, Any]:
    """Build a corpus of `count` lines; returns its unique events, peaks in bytes and seconds."""
    logs, out = scratch / "logs", scratch / "corpus"
    write_lines(logs, count, file_lines)
    command = [sys.executable, "-m", "logfm.cli", "corpus", "build", logs, "--dedup", dedup, "--out", out, "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifest = json.loads((out / "manifest.json").read_bytes())
    shutil.rmtree(logs)
    shutil.rmtree(out)
    names = ("unique", "reader_peak_memory_bytes")
    return {name: manifest[name] for name in ("peak_memory_bytes", "seconds")} | {
        name: manifest["metrics"][name] for name in names
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for what is built and removed")
    parser.add_argument("--millions", type=float, nargs="+", default=[0.5, 1, 2, 4])
    parser.add_argument("--dedup", default="exact")
    parser.add_argument("--file-lines", type=int, default=250_000)
    arguments = parser.parse_args()
    scratch = arguments.scratch / "corpus_memory"
    rows = [
        measure(int(millions * 1_000_000), arguments.file_lines, arguments.dedup, scratch)
        for millions in arguments.millions
    ]
    print("| unique events | peak MB | a worker's peak MB | seconds |")
    print("|---|---|---|---|")
    for row in rows:
        own, worker = (row[name] / 1e6 for name in ("peak_memory_bytes", "reader_peak_memory_bytes"))
        print(f"| {row['unique']:,} | {own:.0f} | {worker:.0f} | {row['seconds']:.0f} |")
    if len(rows) > 1:
        sums = [row["peak_memory_bytes"] + row["reader_peak_memory_bytes"] for row in rows]
        slope = np.polyfit([row["unique"] for row in rows], sums, 1)[0]
        print(f"\n{slope:.1f} bytes for each further unique event")


if __name__ == "__main__":
    main()
