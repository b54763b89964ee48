"""Log similarity: do lines of one template lie closer than lines of different ones? (SecEncoder, section 4.2.1)

Pair AUC leads. Diff is a matter of scale: any encoder's grows when the evaluated set's mean is subtracted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import SimilarityConfig, StatisticsConfig
from logfm.errors import UserError
from logfm.evaluation.stats import Draws, Estimate, Floats, cluster_draws, estimate, ratio
from logfm.evaluation.vectors import Matrix, pair_products, unit_rows

Rows = NDArray[np.int64]
_REPLICATES_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Pairs:
    """Drawn pairs of lines, int64 (n, 2) row numbers; `codes` int64 (rows,) numbers each line's template."""

    positive: Rows
    negative: Rows
    codes: Rows
    templates: int


def draw_pairs(templates: Sequence[str], config: SimilarityConfig | None = None, seed: int = 0) -> Pairs:
    """Draw positive pairs (a template, then two of its lines) and negative pairs (two lines of different templates).

    Templates are drawn uniformly, so that one chatty template does not make up the positives; negatives are drawn
    by line. Pairs may repeat where there are few lines.

    Raises:
        UserError: no template has two lines, or all lines share one template.
    """
    count = (config or SimilarityConfig()).pairs
    names, codes, sizes = np.unique(np.asarray(templates, dtype=object), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UserError("similarity needs lines of at least two templates", fix="Evaluate more varied logs.")
    paired = np.flatnonzero(sizes > 1)
    if not len(paired):
        raise UserError("similarity needs two lines of one template", fix="Evaluate more lines.")
    rng = np.random.default_rng(seed)
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen = rng.choice(paired, size=count)
    first = rng.integers(sizes[chosen])
    second = (first + 1 + rng.integers(sizes[chosen] - 1)) % sizes[chosen]
    positive = order[starts[chosen][:, None] + np.stack([first, second], axis=1)]
    return Pairs(positive, _negatives(codes, sizes, order, starts, count, rng), codes, len(names))


def _negatives(codes: Rows, sizes: Rows, order: Rows, starts: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Pairs of lines, uniform over the ordered pairs of different templates."""
    lines = len(codes)
    others = lines - sizes[codes]
    first = rng.choice(lines, size=count, p=others / others.sum())
    # The partner comes from `order` with the first line's own block cut out.
    place = rng.integers(others[first])
    place += np.where(place >= starts[codes[first]], sizes[codes[first]], 0)
    return np.stack([first, order[place]], axis=1)


def similarity(
    vectors: Matrix, pairs: Pairs, config: StatisticsConfig | None = None, seed: int = 0
) -> dict[str, Estimate]:
    """PMean, NMean, Diff and pair AUC of `vectors` (rows, dim), with bootstrap intervals clustered by template.

    A positive pair counts as often as its template is drawn, a negative one by the product of its two templates'
    draws (the pigeonhole bootstrap: Owen, 2007).
    """
    config = config or StatisticsConfig()
    units = unit_rows(vectors, len(pairs.codes))
    positive, negative = (
        pair_products(units[side[:, 0]], units[side[:, 1]]) for side in (pairs.positive, pairs.negative)
    )
    draws = cluster_draws(pairs.templates, config.resamples, seed)
    replicates = _replicates(positive, negative, pairs, draws)
    values = {
        "pmean": float(positive.mean()),
        "nmean": float(negative.mean()),
        "diff": float(positive.mean() - negative.mean()),
        "pair_auc": float(
            weighted_auc(positive, negative, np.ones((1, len(positive))), np.ones((1, len(negative))))[0]
        ),
    }
    told = len(np.unique(pairs.codes[pairs.positive[:, 0]]))
    return {name: estimate(value, replicates[name], config.confidence, told) for name, value in values.items()}


def weighted_auc(positive: Floats, negative: Floats, positive_weights: Any, negative_weights: Any) -> Floats:
    """The chance that a positive outscores a negative, ties half: float64 (r,) for weights (r, n) and (r, m).

    nan where all weights of one side are zero.
    """
    scores, place = np.unique(np.concatenate([positive, negative]), return_inverse=True)
    sides = []
    for side, weights in (
        (place[: len(positive)], positive_weights),
        (place[len(positive) :], negative_weights),
    ):
        order = np.argsort(side, kind="stable")
        filled, starts = np.unique(side[order], return_index=True)
        mass = np.zeros((len(weights), len(scores)))
        mass[:, filled] = np.add.reduceat(np.asarray(weights, dtype=np.float64)[:, order], starts, axis=1)
        sides.append(mass)
    wins, losses = sides
    below = np.cumsum(losses, axis=1) - losses / 2
    return ratio((wins * below).sum(axis=1), wins.sum(axis=1) * losses.sum(axis=1))


def _replicates(positive: Floats, negative: Floats, pairs: Pairs, draws: Draws) -> Mapping[str, Floats]:
    own = pairs.codes[pairs.positive[:, 0]]
    left, right = pairs.codes[pairs.negative].T
    columns: dict[str, list[Floats]] = {"pmean": [], "nmean": [], "diff": [], "pair_auc": []}
    for start in range(0, len(draws), _REPLICATES_AT_ONCE):
        block = draws[start : start + _REPLICATES_AT_ONCE]
        of_positive, of_negative = block[:, own], block[:, left] * block[:, right]
        pmean = ratio(of_positive @ positive, of_positive.sum(axis=1))
        nmean = ratio(of_negative @ negative, of_negative.sum(axis=1))
        columns["pmean"].append(pmean)
        columns["nmean"].append(nmean)
        columns["diff"].append(pmean - nmean)
        columns["pair_auc"].append(weighted_auc(positive, negative, of_positive, of_negative))
    return {name: np.concatenate(parts) for name, parts in columns.items()}
