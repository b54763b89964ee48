"""Encoders beside TF-IDF and random vectors on the same lines, with what can be told apart and what cannot."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import ComparisonConfig
from logfm.errors import UserError
from logfm.evaluation.baselines import random_vectors, tfidf
from logfm.evaluation.search import halves, search
from logfm.evaluation.similarity import Pairs, draw_pairs, similarity
from logfm.evaluation.stats import Difference, Estimate, holm, paired_difference
from logfm.evaluation.vectors import Encode, unit_rows

TFIDF, TFIDF_LETTERS, RANDOM = "TF-IDF", "TF-IDF, letters only", "random"
COMPARED = ("pair_auc", "mrr", "map", "macro_map")
"""The metrics that encoders are compared on; PMean, NMean and Diff depend on an encoder's scale."""


@dataclass(frozen=True, eq=False)
class EncoderScores:
    """One encoder's metrics, and the seconds that it took to encode the lines."""

    name: str
    metrics: dict[str, Estimate]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """An encoder against a TF-IDF on one metric; `p` is adjusted by Holm over all of a comparison's verdicts."""

    encoder: str
    rival: str
    metric: str
    difference: Difference
    p: float
    distinguishable: bool

    @property
    def winner(self) -> str | None:
        """The better of the two, or None for a tie."""
        if not self.distinguishable:
            return None
        return self.encoder if self.difference.value > 0 else self.rival


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores on one set of lines. `repeated` and `sampled_out` count lines that were not looked at."""

    scores: list[EncoderScores]
    verdicts: list[Verdict]
    lines: int
    repeated: int
    sampled_out: int
    templates: int
    queries: int
    references: int
    left_out: dict[str, int]
    pairs: int
    confidence: float
    seed: int


@dataclass(frozen=True, eq=False)
class _Ground:
    """The lines that are evaluated and how they are split; encoders see `lines` and nothing else."""

    lines: list[str]
    templates: list[str]
    queries: NDArray[np.int64]
    references: NDArray[np.int64]
    pairs: Pairs


def compare(
    lines: Sequence[str],
    templates: Sequence[str],
    encoders: Mapping[str, Encode],
    config: ComparisonConfig | None = None,
) -> Comparison:
    """Score log similarity and log search for each encoder, for two kinds of TF-IDF and for random vectors.

    `lines` are raw, `templates` (same length) say which belong together. Repeated lines are dropped first: finding
    a copy is no feat. One half of the lines queries the other; pairs come from the querying half, and TF-IDF is
    fitted on the other, so no statistic of an evaluated query or pair reaches it.

    Raises:
        UserError: too few lines or templates to score.
        ValueError: `lines` and `templates` differ in length.
    """
    config = config or ComparisonConfig()
    rows, distinct = _sample(lines, templates, config)
    ground = _split([lines[row] for row in rows], [templates[row] for row in rows], config)
    fit_on = [ground.lines[row] for row in ground.references]
    rivals = {TFIDF: tfidf(fit_on), TFIDF_LETTERS: tfidf(fit_on, "letters")}
    contestants = {**encoders, **rivals, RANDOM: random_vectors(seed=config.seed)}
    results = [_score(name, encode, ground, config) for name, encode in contestants.items()]
    scores = [score for score, _ in results]
    queries, left_out = results[0][1]
    return Comparison(
        scores=scores,
        verdicts=_verdicts(scores, list(encoders), list(rivals), config.statistics.confidence),
        lines=len(rows),
        repeated=len(lines) - distinct,
        sampled_out=distinct - len(rows),
        templates=len(set(ground.templates)),
        queries=queries,
        references=len(ground.references),
        left_out=left_out,
        pairs=config.similarity.pairs,
        confidence=config.statistics.confidence,
        seed=config.seed,
    )


def _sample(lines: Sequence[str], templates: Sequence[str], config: ComparisonConfig) -> tuple[list[int], int]:
    """Row numbers of a seeded sample of the distinct lines, in order, and the number of distinct lines."""
    firsts = {line: row for row, (line, _) in reversed(list(enumerate(zip(lines, templates, strict=True))))}
    rows = np.sort(np.fromiter(firsts.values(), dtype=np.int64, count=len(firsts)))
    if len(rows) > config.max_lines:
        rng = np.random.default_rng(config.seed)
        return sorted(rng.choice(rows, size=config.max_lines, replace=False).tolist()), len(rows)
    return rows.tolist(), len(rows)


def _split(lines: list[str], templates: list[str], config: ComparisonConfig) -> _Ground:
    if len(lines) < 4:
        raise UserError(f"{len(lines)} distinct lines are too few to evaluate", fix="Evaluate more lines.")
    queries, references = halves(len(lines), config.seed)
    pairs = draw_pairs([templates[row] for row in queries], config.similarity, config.seed)
    return _Ground(lines, templates, queries, references, pairs)


def _score(
    name: str, encode: Encode, ground: _Ground, config: ComparisonConfig
) -> tuple[EncoderScores, tuple[int, dict[str, int]]]:
    start = time.monotonic()
    vectors = unit_rows(encode(ground.lines), len(ground.lines))
    seconds = time.monotonic() - start
    close = similarity(vectors[ground.queries], ground.pairs, config.statistics, config.seed)
    found = search(
        vectors,
        ground.templates,
        ground.queries,
        ground.references,
        config.search,
        config.statistics,
        config.seed,
    )
    return EncoderScores(name, {**close, **found.metrics}, seconds), (len(found.queries), found.left_out)


def _verdicts(
    scores: Sequence[EncoderScores], encoders: Sequence[str], rivals: Sequence[str], confidence: float
) -> list[Verdict]:
    by_name = {score.name: score.metrics for score in scores}
    rows = [
        (
            encoder,
            rival,
            metric,
            paired_difference(by_name[encoder][metric], by_name[rival][metric], confidence),
        )
        for encoder in encoders
        for rival in rivals
        for metric in COMPARED
    ]
    adjusted = holm([difference.p for *_, difference in rows])
    return [Verdict(*row, p, p <= 1 - confidence) for row, p in zip(rows, adjusted, strict=True)]
