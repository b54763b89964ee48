"""What needs no encoder: most anomalies of the public sets are not sequential, and counting finds them.

New templates, lengths, count vectors and n-grams are the detectors of Landauer et al. ("A critical review of common
log data sets used for evaluation of sequence-based anomaly detection techniques", 2023). Templates come with the data,
or from a Drain that reads train alone; a test message that fits none of them is new.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import TemplateConfig
from logfm.corpus.headers import split_header
from logfm.evaluation.anomaly.cases import Case
from logfm.evaluation.anomaly.windows import Rows, Sequences
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import Data
from logfm.extras import require

Keys = NDArray[np.int64]
NEW = -1
_VARIANCE = 0.95
_DECIMALS = 9
# Distances of all pairs are taken in blocks of about so many numbers.
_BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of one baseline, higher is more abnormal."""

    name: str
    validation: Floats
    test: Floats


def baselines(case: Case, data: Data) -> Iterator[Scored]:
    """Every baseline over the sequences of a case, fitted on train's normal sequences.

    Templates that came with the data are taken; those that a Drain found in all of it are not.
    """
    if data.templates is not None and data.spec.options.get("templates") != "drain":
        keys = given_keys(data.templates, case.train.events)
    else:
        keys = train_keys(data.texts, case.train.events)
    known, parts = case.normal, (case.validation, case.test)
    if not len(known):
        return
    yield Scored("new-template", *(new_templates(known, part, keys) for part in parts))
    yield Scored("length", *(lengths(known, part) for part in parts))
    yield Scored("ngram", *(new_ngrams(known, part, keys) for part in parts))
    fitted, *others = count_vectors((known, *parts), keys)
    yield Scored("count-nearest", *(nearest_counts(fitted, other) for other in others))
    yield Scored("count-pca", *count_residuals(fitted, others))


def train_keys(texts: Sequence[str], train: Rows, config: TemplateConfig | None = None) -> Keys:
    """A template's number for each text, int64 (texts,); NEW where Drain, fitted on the rows of `train`, knows none.

    Messages stand behind their header; JSON events go by their kind.

    Raises:
        UserError: drain3 is not installed.
    """
    config = config or TemplateConfig()
    miner = require("drain3.drain", "eval").Drain(depth=config.depth, sim_th=config.similarity)
    seen: dict[str, tuple[str, str]] = {}
    for text in texts:
        if text not in seen:
            form, message = split_header(text)
            seen[text] = form, message[: config.max_message].split("\n", 1)[0]
    tokens = miner.get_content_as_tokens
    kinds: dict[str, int] = {}
    for row in np.sort(train):
        form, message = seen[texts[row]]
        if form == "json":
            kinds.setdefault(message, -2 - len(kinds))
        else:
            miner.add_log_message(message)
    found: dict[str, int] = {}
    for text, (form, message) in seen.items():
        if form == "json":
            found[text] = kinds.get(message, NEW)
        else:
            # What `add_log_message` would join: the tree's best cluster, if it is alike enough.
            cluster = miner.tree_search(miner.root_node, tokens(message), config.similarity, False)
            found[text] = NEW if cluster is None else int(cluster.cluster_id)
    return np.array([found[text] for text in texts], dtype=np.int64)


def given_keys(templates: Sequence[str], train: Rows) -> Keys:
    """A number for each given template, int64 (templates,); NEW for one that no row of `train` has."""
    known: dict[str, int] = {}
    for row in train:
        known.setdefault(templates[row], len(known))
    return np.array([known.get(template, NEW) for template in templates], dtype=np.int64)


def new_templates(normal: Sequences, judged: Sequences, keys: Keys) -> Floats:
    """Share of a sequence's events whose template no normal sequence of train holds, float64 (sequences,)."""
    known = np.setdiff1d(keys[normal.events], [NEW])
    return np.array([float((~np.isin(keys[rows], known)).mean()) for rows in judged.rows])


def lengths(normal: Sequences, judged: Sequences) -> Floats:
    """How rare a sequence's length is among the normal ones: -log of the share (smoothed) that is as long."""
    counts = Counter(len(rows) for rows in normal.rows)
    total = len(normal) + 1
    return np.array([-np.log((counts[len(rows)] + 1) / total) for rows in judged.rows])


def new_ngrams(normal: Sequences, judged: Sequences, keys: Keys, size: int = 2) -> Floats:
    """Share of a sequence's n-grams of templates, its borders included, that no normal sequence of train holds."""
    known = {gram for rows in normal.rows for gram in _ngrams(keys[rows], size)}
    return np.array([_share_new(_ngrams(keys[rows], size), known) for rows in judged.rows])


def _ngrams(keys: Keys, size: int) -> list[tuple[int, ...]]:
    border = np.iinfo(np.int64).min
    padded = [border, *keys.tolist(), border]
    return [tuple(padded[start : start + size]) for start in range(len(padded) - size + 1)]


def _share_new(grams: list[tuple[int, ...]], known: set[tuple[int, ...]]) -> float:
    # A template that train does not know makes its n-grams new, whatever number other unknown ones share with it.
    return sum(gram not in known or NEW in gram for gram in grams) / len(grams)


def count_vectors(parts: Sequence[Sequences], keys: Keys) -> list[Floats]:
    """How often each template of the first part occurs in each sequence, float64 (sequences, templates + 1).

    The last column counts what the first part does not hold.
    """
    known = np.setdiff1d(keys[parts[0].events], [NEW])
    found = []
    for part in parts:
        place = np.searchsorted(known, keys[part.events]).clip(max=max(len(known) - 1, 0))
        place = np.where(known[place] == keys[part.events], place, len(known)) if len(known) else place * 0
        owner = np.repeat(np.arange(len(part)), [len(rows) for rows in part.rows])
        counts = np.zeros((len(part), len(known) + 1))
        np.add.at(counts, (owner, place), 1)
        found.append(counts)
    return found


def nearest_counts(normal: Floats, judged: Floats) -> Floats:
    """Distance to the nearest normal count vector: sum of differences over the longer one's length, in [0, 1]."""
    normal = np.unique(normal, axis=0)
    different, of = np.unique(judged, axis=0, return_inverse=True)
    sizes = normal.sum(axis=1)
    found = np.empty(len(different))
    step = max(1, _BLOCK // max(1, normal.size))
    for start in range(0, len(different), step):
        block = different[start : start + step]
        away = np.abs(block[:, None, :] - normal[None, :, :]).sum(axis=2)
        found[start : start + step] = (away / np.maximum(block.sum(axis=1)[:, None], sizes[None, :])).min(axis=1)
    # Two vectors of disjoint templates are as far apart as their lengths together.
    return found[of.reshape(-1)] / 2


def count_residuals(normal: Floats, judged: Sequence[Floats]) -> list[Floats]:
    """Squared distance to the normal count vectors' principal subspace of 95 % of variance (Xu et al., SOSP 2009).

    Counts are weighted by inverse document frequency, smoothed so that what every sequence holds still counts, and
    centred on the normal ones.
    """
    weight = 1 + np.log((1 + len(normal)) / (1 + (normal > 0).sum(axis=0)))
    centre = (normal * weight).mean(axis=0)
    _, spread, axes = np.linalg.svd(normal * weight - centre, full_matrices=False)
    variance = np.cumsum(spread**2)
    kept = axes[: int(np.searchsorted(variance, _VARIANCE * variance[-1]) + 1)] if variance[-1] > 0 else axes[:0]
    found = []
    for counts in judged:
        different, of = np.unique(counts, axis=0, return_inverse=True)
        away = different * weight - centre
        residuals = ((away - away @ kept.T @ kept) ** 2).sum(axis=1)
        # Sequences within the subspace differ by rounding alone; noise must not rank them.
        found.append(np.round(residuals, _DECIMALS)[of.reshape(-1)])
    return found
