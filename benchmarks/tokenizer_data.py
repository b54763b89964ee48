"""Loghub lines for the tokenizer's benchmarks, with the label of BGL and Thunderbird taken off."""

from pathlib import Path

CHOICE_SYSTEMS = ("Linux", "Android", "BGL", "Hadoop")
"""The systems that choices may look at; the other eight are for results."""
SYSTEMS = (
    *CHOICE_SYSTEMS,
    "Apache", "HDFS", "HPC", "HealthApp", "Spark", "Thunderbird", "Windows", "Zookeeper",
)  # fmt: skip
_LABELLED = ("BGL", "Thunderbird")


def loghub_lines(folder: Path, system: str) -> list[str]:
    """The raw lines of one system of loghub_2k."""
    text = (folder / system / f"{system}_2k.log").read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line]
    return [line.partition(" ")[2] for line in lines] if system in _LABELLED else lines
