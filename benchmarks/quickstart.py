"""Runs `logfm quickstart` on real logs and prints a Markdown table of what it took and gave.

Usage: python benchmarks/quickstart.py DATA [--only NAME]... (DATA: a folder with otrf_security_datasets, loghub_2k and
evtx_attack_samples). Each run is a process of its own; peak memory is that of the process and its workers together,
sampled ten times a second.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

OTRF = "otrf_security_datasets/windows/credential_access/empire_mimikatz_logonpasswords.zip"
LOGHUB = [f"loghub_2k/{name}/{name}_2k.log" for name in ("Linux", "Android", "Hadoop")]
RUNS = {
    "simulated": [],
    "otrf": [OTRF],
    "loghub": LOGHUB,
    "evtx": ["evtx_attack_samples"],
    "all": [OTRF, *LOGHUB, "evtx_attack_samples"],
}


def tree_memory(process: psutil.Process) -> int:
    """Resident bytes of a process and its children; shared pages are counted in each."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def measure(inputs: list[Path], out: Path, config: str) -> dict[str, Any]:
    """Run one quickstart; returns its report with wall seconds and peak memory in bytes."""
    command = [
        sys.executable,
        "-m",
        "logfm.cli",
        "quickstart",
        *map(str, inputs),
        "--out",
        str(out),
        "--config",
        config,
    ]
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(command)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, tree_memory(watched))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.1)
    if process.wait():
        raise SystemExit(f"quickstart failed: {' '.join(command)}")
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report | {"wall": time.monotonic() - start, "peak": peak}


def row(name: str, report: dict[str, Any]) -> list[str]:
    """One line of the table."""
    stages = {stage["name"]: stage["seconds"] for stage in report["stages"]}
    cells = [
        name,
        f"{sum(source['events'] for source in report['sources']):,}",
        f"{sum(sum(source['rejects'].values()) for source in report['sources']):,}",
        f"{report['training']['tokens'] / 1e6:.2f}M",
        ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in stages.items()),
        f"{report['wall']:.0f}",
        f"{report['peak'] / 1e9:.2f}",
        f"{report['training']['validation']['bits_per_byte']:.3f}",
    ]
    comparison = report["comparison"]
    for metric in ("map", "pair_auc", "diff"):
        scores = {one["name"]: one["metrics"][metric]["value"] for one in comparison["rows"]} if comparison else {}
        cells.append(
            " / ".join(f"{scores[key]:.3f}" for key in ("logfm", "TF-IDF", "TF-IDF, letters only") if key in scores)
        )
    return cells


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=RUNS)
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--keep", type=Path, help="Keep the runs' folders here.")
    arguments = parser.parse_args()
    head = ["input", "events", "rejects", "tokens trained", "seconds a stage", "seconds", "peak GB", "bits/byte",
            "MAP: logfm / TF-IDF / letters", "pair AUC", "Diff"]  # fmt: skip
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.only or RUNS:
            out = (arguments.keep or Path(scratch)) / name
            report = measure([arguments.data / path for path in RUNS[name]], out, arguments.config)
            print("| " + " | ".join(row(name, report)) + " |", flush=True)


if __name__ == "__main__":
    main()
