"""The model card of an encoder folder: README.md, written from manifests and measured results alone."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from logfm.artifacts import Manifest, write_atomic
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.errors import UserError

CARD, TRAINING = "README.md", "training.json"
_SHOWN = {"learning_rate", "steps", "epochs", "minutes", "precision", "accumulate", "decay_share"}
_USE = (
    "Vectors of log events: search, anomaly detection, clustering, subsampling, features for a classifier; and how "
    "surprising each token of an event is. It reads raw lines, or JSON with the column names."
)
_LIMITS = (
    "A vector says what an event looks like, not whether it is malicious: what is rare is not always an attack, and an "
    "attack may look usual. Events longer than `max_seq_length` of sentence_bert_config.json lose their end. Formats "
    "and languages that the data below lacks are read, but less well: measure on your own logs, or go on pretraining "
    "on them. Attackers write logs: don't let a score alone decide."
)


def training_facts(config: PretrainConfig, corpus: Manifest, before: Path | None) -> dict[str, Any]:
    """What a run learns from and how, and the same of the encoder that it starts from (`before`, a folder)."""
    sources = {
        name: {key: facts[key] for key in ("events", "unique", "distinct", "bytes", "licences") if key in facts}
        for name, facts in corpus.metrics.get("sources", {}).items()
    }
    train = {key: value for key, value in config.train.dump().items() if key in _SHOWN and value is not None}
    recipe = {"masking": config.masking.dump(), "train": train, "view": config.data.view}
    if config.contrast is not None:
        recipe["contrast"] = config.contrast.dump()
    path = None if before is None else before / TRAINING
    return {
        "corpus": corpus.hash,
        "sources": sources,
        "recipe": recipe,
        "before": json.loads(path.read_bytes()) if path is not None and path.is_file() else None,
    }


def write_card(
    folder: Path,
    metrics: Mapping[str, Any],
    licences: Iterable[str],
    *,
    parameters: int,
    results: Path | None = None,
    audit: Path | None = None,
    licence: str | None = None,
) -> None:
    """Write the card into an encoder folder.

    `results` is the results.csv of `logfm eval run`, `audit` the JSON document of benchmarks/memorisation.py, `licence`
    the SPDX id that the weights are given under.

    Raises:
        UserError: results that cannot be read.
    """
    sizes = json.loads((folder / "config.json").read_bytes())
    limit = json.loads((folder / "sentence_bert_config.json").read_bytes())["max_seq_length"]
    path = folder / TRAINING
    training = json.loads(path.read_bytes()) if path.is_file() else {}
    words = sizes["vocab_size"] * sizes["hidden_size"]
    parts = [
        _front(licence, licences),
        "# A log encoder\n\nTrained with logfm. A DeBERTa-v2 encoder of "
        f"{sizes['num_hidden_layers']} layers, {sizes['hidden_size']} wide, {parameters / 1e6:.1f}M parameters, of "
        f"which {words / 1e6:.1f}M are word embeddings ({sizes['vocab_size']:,} tokens of a tokenizer trained on logs);"
        f" reads {limit} tokens of an event.",
        "## Use\n\n" + _USE + "\n\n```python\nfrom logfm.embeddings import LogEncoder\n\n"
        'vectors = LogEncoder.load("FOLDER").encode(["sshd[1]: Failed password for root from 203.0.113.9"])\n```',
        "## Data\n\n" + _data(training),
        "## Training\n\n" + _training(training, metrics),
    ]
    if results is not None:
        parts.append("## Results\n\n" + _results(results))
    if audit is not None:
        parts.append("## What it remembers\n\n" + _audit(audit))
    parts.append("## Limits\n\n" + _LIMITS)
    named = ", ".join(sorted(set(licences))) or "none stated"
    given = f"The weights are under {licence}. " if licence else ""
    parts.append(f"## Licence\n\n{given}Licences of the training data: {named}.")
    write_atomic(folder / CARD, ("\n\n".join(parts) + "\n").encode())


def _front(licence: str | None, licences: Iterable[str]) -> str:
    """What model hubs read."""
    lines = ["---", f"license: {(licence or 'other').lower()}", "library_name: sentence-transformers",
             "pipeline_tag: sentence-similarity", "tags: [logs, security, deberta-v2, logfm]"]  # fmt: skip
    flagged = [one for one in licences if "NC" in one.split("-")]
    if flagged:
        lines.append(f"training_data_non_commercial: {json.dumps(sorted(flagged))}")
    return "\n".join([*lines, "---"])


def _stages(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The run and those that it went on from, oldest first."""
    found = []
    stage: Mapping[str, Any] | None = training or None
    while stage is not None:
        found.append(stage)
        stage = stage.get("before")
    return found[::-1]


def _data(training: Mapping[str, Any]) -> str:
    stages = _stages(training)
    if not any(stage["sources"] for stage in stages):
        return "The manifest does not say."
    seen: set[str] = set()
    rows = []
    for stage in stages:
        if stage["corpus"] in seen:
            continue
        seen.add(stage["corpus"])
        for name, facts in sorted(stage["sources"].items(), key=lambda one: -one[1].get("bytes", 0)):
            kept = facts.get("distinct", facts.get("unique", facts["events"]))
            licences = ", ".join(facts.get("licences") or ["none stated"])
            rows.append((name, f"{facts['events']:,}", f"{kept:,}", f"{facts['bytes'] / 1e6:.1f}", licences))
    return _table(("source", "events", "after deduplication", "MB", "licence"), rows)


def _training(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    lines = [
        f"{number}. {'Contrastive stage' if 'contrast' in stage['recipe'] else 'Masked language modelling'}: "
        f"`{json.dumps(stage['recipe'], sort_keys=True)}`"
        for number, stage in enumerate(_stages(training), 1)
    ]
    measured = {name.removeprefix("validation_"): value for name, value in metrics.items()
                if name.startswith("validation_") and isinstance(value, float)}  # fmt: skip
    if measured:
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in measured.items())
        lines.append(f"\nOn held-out, later events of the same sources: {shown}.")
    return "\n".join(lines) or "The manifest does not say."


def _results(path: Path) -> str:
    """The leading metric of each task and data set: encoders in columns, the mean of seeds and conditions' default."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["status"] == "ok" and not row["condition"]]
        leading: dict[str, str] = {}
        cells: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if row["direction"] == "neither":
                continue
            metric = leading.setdefault(row["task"], row["metric"])
            if row["metric"] == metric:
                cells[row["task"], row["data"]][row["encoder"]].append(float(row["value"]))
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise UserError(
            f"cannot read the results ({error})", path, "Give the results.csv of `logfm eval run`."
        ) from error
    encoders = list(dict.fromkeys(name for found in cells.values() for name in found))
    table = [
        (task, data, leading[task], *(f"{fmean(found[name]):.3f}" if name in found else "" for name in encoders))
        for (task, data), found in sorted(cells.items())
    ]
    if not table:
        raise UserError("the results hold no measurement", path)
    return "Measured by `logfm eval run`; means over seeds.\n\n" + _table(("task", "data", "metric", *encoders), table)


def _audit(path: Path) -> str:
    try:
        document = json.loads(path.read_bytes())
        rows = [
            (str(one["count"]), str(one["canaries"]), f"{one['exposure']:.2f}", f"{one['first']:.2f}")
            for one in document["by_count"]
        ]
        most, originals = document["most_bits"], document["originals_found"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"cannot read the audit ({error})", path, "Give the output of benchmarks/memorisation.py."
        ) from error
    said = (
        "Secrets and names made for the purpose were planted in the training data. Exposure (Carlini et al., 2019) is "
        f"how many bits of {most:.1f} the model's ranking gives away: 0 to 1.5 is what chance gives.\n\n"
    )
    table = _table(("times planted", "canaries", "median exposure (bits)", "ranked first"), rows)
    after = f"\n\nOf the identifiers that anonymisation replaced, {originals} occur in the training data."
    return said + table + ("" if originals is None else after)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines)
