"""What is in raw files or in a corpus, without changing anything: the data behind `corpus inspect`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logfm.artifacts import MANIFEST
from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import discover
from logfm.corpus.events import Reject
from logfm.corpus.read import read_input
from logfm.corpus.store import Corpus
from logfm.corpus.tally import EXAMPLES, Tally, merge_counts


def survey(paths: Sequence[str | Path], config: CorpusConfig | None = None) -> dict[str, Any]:
    """Counts over all, per source and per file: format and why, events, time range, fields, rejects with examples.

    A corpus folder is described by its manifest; anything else is read.

    Raises:
        UserError: a path does not exist, or nothing was found.
    """
    config = config or CorpusConfig()
    corpora = [given for given in paths if (Path(given) / MANIFEST).is_file()]
    raw = [given for given in paths if given not in corpora]
    parts = [_of_corpus(given) for given in corpora]
    if raw or not parts:
        parts.append(_of_files(raw, config))
    if len(parts) == 1:
        return parts[0]
    return merge_counts(parts) | {
        "sources": merge_sources([part["sources"] for part in parts]),
        "rejects": dict(sum((Counter(part["rejects"]) for part in parts), Counter())),
        "doubts": dict(sum((Counter(part["doubts"]) for part in parts), Counter())),
        "examples": merge_examples([part["examples"] for part in parts]),
        "files": [file for part in parts for file in part["files"]],
    }


def _of_corpus(folder: str | Path) -> dict[str, Any]:
    metrics = Corpus.open(folder).manifest.metrics
    names = ("events", "bytes", "timestamped", "first", "last", "sources", "rejects", "examples", "files")
    return {name: metrics[name] for name in names} | {"doubts": metrics.get("doubts", {})}


def _of_files(paths: Sequence[str | Path], config: CorpusConfig) -> dict[str, Any]:
    found, rejects = discover(paths)
    files: list[dict[str, Any]] = []
    for one in found:
        for part in read_input(one, config):
            tally = Tally(part.file, part.name, part.format, part.why)
            for _ in tally.watch(part.records):
                pass
            files.append(tally.summary())
    return describe(files, rejects)


def describe(files: Sequence[dict[str, Any]], rejects: Sequence[Reject]) -> dict[str, Any]:
    """The counts of all files together, per source and per file; `rejects` are those of no file."""
    reasons = Counter(one.reason for one in rejects)
    for file in files:
        reasons.update(file["rejects"])
    first: dict[str, list[dict[str, Any]]] = {}
    for one in rejects:
        where = {"file": one.file, "offset": one.offset, "excerpt": one.excerpt}
        first.setdefault(one.reason, []).append(where)
    return merge_counts(files) | {
        "sources": merge_sources([file["sources"] for file in files]),
        "rejects": dict(sorted(reasons.items())),
        "doubts": dict(sum((Counter(file["doubts"]) for file in files), Counter())),
        "examples": merge_examples([first, *(file["examples"] for file in files)]),
        "files": [{key: value for key, value in file.items() if key != "examples"} for file in files],
    }


def merge_sources(parts: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Counts per source, added up."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        for source, counts in part.items():
            grouped.setdefault(source, []).append(counts)
    return {source: merge_counts(counts) for source, counts in sorted(grouped.items())}


def merge_examples(parts: Sequence[dict[str, list[dict[str, Any]]]]) -> dict[str, list[dict[str, Any]]]:
    """The first three examples of each reason."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        for reason, found in part.items():
            merged.setdefault(reason, []).extend(found[: EXAMPLES - len(merged.get(reason, []))])
    return dict(sorted(merged.items()))
