"""The model card of an encoder folder: README.md, written from manifests and measured results alone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from logfm.artifacts import Manifest, file_hash, write_atomic
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.errors import UserError
from logfm.pretrain.card_results import results_table, table

CARD, TRAINING = "README.md", "training.json"
_SHOWN = {"learning_rate", "steps", "epochs", "minutes", "precision", "accumulate", "decay_share"}
_FEW = 100
"""Events below which a source shares its row of the card with others."""
_USE = (
    "Vectors of log events: search, anomaly detection, clustering, subsampling, features for a classifier; and how "
    "surprising each token of an event is. It reads raw lines, or JSON with the column names."
)
_LIMITS = (
    "A vector says what an event looks like, not whether it is malicious: what is rare is not always an attack, and an "
    "attack may look usual. Events longer than `max_seq_length` of sentence_bert_config.json lose their end. Formats "
    "and languages that the data above lacks are read, but less well: measure on your own logs, or go on pretraining "
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
        # A file by its content: a path tells of the machine, and nothing of the templates.
        known = config.contrast.templates
        templates = None if known is None else f"SHA-256 {file_hash(known)}"
        recipe["contrast"] = config.contrast.dump() | {"templates": templates}
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
    name: str | None = None,
) -> None:
    """Write the card into an encoder folder.

    `results` is the results.csv of `logfm eval run`, `audit` the JSON document of benchmarks/memorisation.py, `licence`
    the SPDX id that the weights are given under, `name` what `LogEncoder.load` takes where it is no folder.

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
        f"# {name or 'A log encoder'}\n\nTrained with logfm. A DeBERTa-v2 encoder of "
        f"{sizes['num_hidden_layers']} layers, {sizes['hidden_size']} wide, {parameters / 1e6:.1f}M parameters, of "
        f"which {words / 1e6:.1f}M are word embeddings ({sizes['vocab_size']:,} tokens of a tokenizer trained on logs);"
        f" reads {limit} tokens of an event.",
        "## Use\n\n" + _USE + "\n\n```python\nfrom logfm.embeddings import LogEncoder\n\n"
        f'vectors = LogEncoder.load("{name or "FOLDER"}").encode(['
        '"sshd[1]: Failed password for root from 203.0.113.9"])\n```',
        "## Data\n\n" + _data(training),
        "## Training\n\n" + _training(training, metrics),
    ]
    if results is not None:
        parts.append("## Results\n\n" + results_table(results, name))
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
    rows: list[tuple[str, ...]] = []
    few: list[Mapping[str, Any]] = []
    for stage in stages:
        if stage["corpus"] in seen:
            continue
        seen.add(stage["corpus"])
        for name, facts in sorted(stage["sources"].items(), key=lambda one: -one[1].get("bytes", 0)):
            if facts["events"] < _FEW:
                few.append(facts)
            else:
                rows.append(_row(name, [facts]))
    if few:
        rows.append(_row(f"{len(few)} more, of fewer than {_FEW} events each", few))
    head = ("source", "events", "after deduplication", "MB", "licence")
    licences = {row[-1] for row in rows}
    if len(licences) > 1:
        return table(head, rows)
    said = f"One corpus, under these licences by origin: {licences.pop()}."
    return f"{said}\n\n" + table(head[:-1], (row[:-1] for row in rows))


def _row(name: str, all_: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    kept = sum(facts.get("distinct", facts.get("unique", facts["events"])) for facts in all_)
    events, size = (sum(facts[what] for facts in all_) for what in ("events", "bytes"))
    licences = dict.fromkeys(licence for facts in all_ for licence in facts.get("licences") or ["none stated"])
    return name, f"{events:,}", f"{kept:,}", f"{size / 1e6:.1f}", "; ".join(licences)


def _training(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    lines = [
        f"{number}. {'Contrastive stage' if 'contrast' in stage['recipe'] else 'Masked language modelling'}: "
        f"`{json.dumps(stage['recipe'], sort_keys=True)}`{_taken(stage)}"
        for number, stage in enumerate(_stages(training), 1)
    ]
    measured = {name.removeprefix("validation_"): value for name, value in metrics.items()
                if name.startswith("validation_") and isinstance(value, float)}  # fmt: skip
    if measured:
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in measured.items())
        lines.append(f"\nOn held-out, later events of the same sources: {shown}.")
    return "\n".join(lines) or "The manifest does not say."


def _taken(stage: Mapping[str, Any]) -> str:
    if not (tokens := stage.get("tokens")):
        return ""
    passes = tokens["taken"] / max(1, tokens["held"])
    return f"; {tokens['taken'] / 1e6:.1f}M tokens, {passes:.2f} times what the training data holds"


def _audit(path: Path) -> str:
    try:
        document = json.loads(path.read_bytes())
        rows = [
            (str(one["count"]), str(one["canaries"]), f"{one['exposure']:.2f}", f"{one['first']:.2f}")
            for one in document["by_count"]
        ]
        most, names, left = document["most_bits"], document.get("originals", 0), document.get("originals_found", [])
        after = _originals(names, list(map(str, left))) if names else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"cannot read the audit ({error})", path, "Give the output of benchmarks/memorisation.py."
        ) from error
    said = (
        "Secrets and names made for the purpose were planted in the training data, so many times each; how much of it "
        "was taken stands above. Their masked tokens are ranked among 255 others of their kind. Exposure (Carlini et "
        f"al., 2019) is how many bits of {most:.1f} that gives away: 0 to 1.5 is what chance gives.\n\n"
    )
    ranked = table(("times planted", "canaries", "median exposure (bits)", "ranked first"), rows)
    return said + ranked + after


def _originals(names: int, left: Sequence[str]) -> str:
    said = f"\n\nAnonymisation replaced {names:,} names of users, hosts and domains wherever they stood. "
    if not left:
        return said + "None of them occurs in the training data."
    return said + f"Still there, as words or parts of other names: {', '.join(left)}."
