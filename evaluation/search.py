"""Log search: does a line find the other lines of its template? (SecEncoder, section 4.2.2)"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import SearchConfig, StatisticsConfig
from logfm.errors import UserError
from logfm.evaluation.stats import Estimate, Floats, cluster_draws, mean_estimate
from logfm.evaluation.vectors import Matrix, products, unit_rows

Rows = NDArray[np.int64]
# A similarity (4 or 8 bytes), its rank (8), its relevance and running counts (1 + 8 + 8).
_BYTES_A_CELL = 33


@dataclass(frozen=True, eq=False)
class SearchScores:
    """Scores of one search.

    `reciprocal_rank` and `average_precision` are float64 (queries,), `recall` maps k to float64 (queries,), all in
    the order of `queries`, the row numbers of the lines that were asked. `left_out` counts lines that were no query:
    `single` because no other line shares their template, `unmatched` because all that do are queries themselves.
    """

    metrics: dict[str, Estimate]
    queries: Rows
    templates: NDArray[np.object_]
    reciprocal_rank: Floats
    average_precision: Floats
    recall: dict[int, Floats]
    references: int
    left_out: dict[str, int]


def halves(rows: int, seed: int = 0) -> tuple[Rows, Rows]:
    """Row numbers of the queries and of the references: a random half each, int64."""
    order = np.random.default_rng(seed).permutation(rows)
    return order[: rows // 2], order[rows // 2 :]


def search(
    vectors: Matrix,
    templates: Sequence[str],
    queries: Rows,
    references: Rows,
    config: SearchConfig | None = None,
    statistics: StatisticsConfig | None = None,
    seed: int = 0,
) -> SearchScores:
    """Rank all references for each query by cosine, and score the full ranking.

    `vectors` is (n, dim), `templates` (n,), `queries` and `references` are row numbers. MRR, MAP (exact, over the
    full ranking), macro MAP (the mean over templates of their queries' mean) and recall@k (the share of a query's
    relevant lines among the first k) come with bootstrap intervals clustered by template. References of equal
    score rank in the order given, so give them shuffled, as `halves` does.

    Raises:
        UserError: no query has a relevant reference.
    """
    config, statistics = config or SearchConfig(), statistics or StatisticsConfig()
    names, codes = np.unique(np.asarray(templates, dtype=object), return_inverse=True)
    counts = np.bincount(codes[references], minlength=len(names))
    asked = queries[counts[codes[queries]] > 0]
    if not len(asked):
        raise UserError("no query has another line of its template among the references", fix="Evaluate more lines.")
    units = unit_rows(vectors, len(codes))
    reciprocal, precision, recall = _rank_all(units, codes, asked, references, config)
    single = int((np.bincount(codes, minlength=len(names))[codes[queries]] == 1).sum())
    per_query = {"mrr": reciprocal, "map": precision} | {f"recall@{k}": recall[k] for k in config.recall_at}
    return SearchScores(
        metrics=_metrics(per_query, codes[asked], statistics, seed),
        queries=asked,
        templates=names[codes[asked]],
        reciprocal_rank=reciprocal,
        average_precision=precision,
        recall=recall,
        references=len(references),
        left_out={"single": single, "unmatched": len(queries) - len(asked) - single},
    )


def rank_scores(
    similarities: NDArray[np.floating], relevant: NDArray[np.bool_], recall_at: Sequence[int]
) -> tuple[Floats, Floats, dict[int, Floats]]:
    """Reciprocal rank, average precision and recall@k of each row, from (queries, references) blocks.

    Every row needs a relevant reference. Ties rank in the references' order.
    """
    order = np.argsort(-similarities, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    found = np.cumsum(hits, axis=1)
    total = found[:, -1]
    reciprocal = 1.0 / (np.argmax(hits, axis=1) + 1)
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.where(hits, found / ranks, 0.0).sum(axis=1) / total
    recall = {k: found[:, min(k, hits.shape[1]) - 1] / total for k in recall_at}
    return reciprocal, precision, recall


def _rank_all(
    units: Matrix, codes: Rows, asked: Rows, references: Rows, config: SearchConfig
) -> tuple[Floats, Floats, dict[int, Floats]]:
    targets, target_codes = units[references], codes[references]
    rows = max(1, config.chunk_bytes // (_BYTES_A_CELL * len(references)))
    parts = []
    for start in range(0, len(asked), rows):
        chunk = asked[start : start + rows]
        relevant = codes[chunk][:, None] == target_codes[None, :]
        parts.append(rank_scores(products(units[chunk], targets), relevant, config.recall_at))
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        {k: np.concatenate([part[2][k] for part in parts]) for k in config.recall_at},
    )


def _metrics(per_query: dict[str, Floats], codes: Rows, config: StatisticsConfig, seed: int) -> dict[str, Estimate]:
    present, index = np.unique(codes, return_inverse=True)
    draws = cluster_draws(len(present), config.resamples, seed)
    metrics = {name: mean_estimate(values, index, draws, config.confidence) for name, values in per_query.items()}
    means = np.bincount(index, weights=per_query["map"]) / np.bincount(index)
    metrics["macro_map"] = mean_estimate(means, np.arange(len(present)), draws, config.confidence)
    return metrics
