"""Search by meaning: does a plain-English description find the raw events that it describes?"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import SearchConfig, StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, firsts, masked, sampled
from logfm.evaluation.search import rank_scores
from logfm.evaluation.stats import Floats, cluster_draws, mean_estimate
from logfm.evaluation.suite.task import Contestant, Data, Measurement
from logfm.evaluation.vectors import products, unit_rows

_RECALL = SearchConfig().recall_at
META = TaskMeta(
    name="meaning",
    title="Does a plain-English description find the raw events that it describes?",
    paper="SecEncoder, section 4.2.2 and Table 3 (NL clusters), with descriptions by people instead of GPT-4",
    split="Descriptions query, events are searched. What is fitted, is fitted on the events, as a search engine would.",
    leakage="No description is in an event's text. Descriptions that differ in values only are one query, and all "
    "their events its answers. A sentence filled with an event's values finds that event by them: `own event left "
    "out` searches for the others.",
    main_score="map",
    metrics={"map": "higher", "mrr": "higher"} | {f"recall@{k}": "higher" for k in _RECALL},
    minutes=6,
    caps={"queries": 1000},
    by_event=True,
)
OWN_LEFT_OUT = "own event left out"


class _Queries(NamedTuple):
    """Events whose descriptions are asked (rows of the searched events), and the class of each searched event."""

    rows: Rows
    classes: Rows
    """int64 (events,), -1 for events without a description."""


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Rank all different events for each description, and score the full ranking.

    An event is relevant that has the description or one that differs in values alone; intervals are clustered by
    product, whose descriptions are alike. Descriptions of rules (`data.classes` names them) hold no event's values.

    Raises:
        UserError: no descriptions.
    """
    if data.queries is None or not any(data.queries):
        raise UserError("search by meaning needs descriptions", data.spec.name)
    events = _events(data)
    most = options.get("queries")
    texts, sentences, *found = asked(data, None if most is None else int(most), seed)
    queries = _Queries(*found)
    targets = contestant.encode(texts, texts)
    vectors = contestant.encode([sentences[row] for row in queries.rows], texts)
    names = data.sources or [data.spec.name] * len(data.texts)
    sources = np.array([names[row] for row in events])
    scores = _similarities(vectors, targets, len(queries.rows), len(events))
    relevant = queries.classes[queries.rows][:, None] == queries.classes[None, :]
    yield from _measure(scores, relevant, sources[queries.rows], "", seed)
    kinds = data.classes or [""] * len(data.texts)
    ruled = np.array([bool(kinds[row]) for row in events])
    own = np.flatnonzero(_filled(queries, sentences) & ~ruled[queries.rows])
    if len(own):
        places = np.arange(len(own))
        scores, relevant = scores[own], relevant[own]
        scores[places, queries.rows[own]] = -np.inf
        relevant[places, queries.rows[own]] = False
        answered = relevant.any(axis=1)
        if answered.any():
            yield from _measure(
                scores[answered], relevant[answered], sources[queries.rows[own]][answered], OWN_LEFT_OUT, seed
            )


def asked(data: Data, most: int | None, seed: int) -> tuple[list[str], list[str], Rows, Rows]:
    """The different events, their descriptions, which of them are asked (rows), and each one's class (-1: none)."""
    events = _events(data)
    described = data.queries or [""] * len(data.texts)
    sentences = [described[row] for row in events]
    return [data.texts[row] for row in events], sentences, *_queries(sentences, most, seed)


def _events(data: Data) -> Rows:
    """Different events: of equal ones the first with a description."""
    described = np.array([bool(query) for query in data.queries or []])
    order = np.argsort(~described, kind="stable")
    kept = order[firsts([data.texts[row] for row in order])]
    return np.sort(kept).astype(np.int64)


def _queries(sentences: list[str], most: int | None, seed: int) -> _Queries:
    described = np.array([row for row, sentence in enumerate(sentences) if sentence], dtype=np.int64)
    _, found = np.unique(masked([sentences[row] for row in described]), return_inverse=True)
    classes = np.full(len(sentences), -1, dtype=np.int64)
    classes[described] = found
    order = np.random.default_rng(seed).permutation(described)
    return _Queries(sampled(np.sort(order[firsts(classes[order].astype(np.uint64))]), most, seed), classes)


def _filled(queries: _Queries, sentences: list[str]) -> NDArray[np.bool_]:
    """Which queries are sentences filled with values, bool (queries,): their class has several wordings."""
    wordings: dict[int, set[str]] = {}
    for one, sentence in zip(queries.classes.tolist(), sentences, strict=True):
        wordings.setdefault(one, set()).add(sentence)
    return np.array([len(wordings[one]) > 1 for one in queries.classes[queries.rows].tolist()], dtype=bool)


def _similarities(asked: Any, targets: Any, queries: int, events: int) -> NDArray[np.floating[Any]]:
    return np.array(products(unit_rows(asked, queries), unit_rows(targets, events)))


def _measure(
    scores: NDArray[Any], relevant: NDArray[np.bool_], sources: NDArray[Any], condition: str, seed: int
) -> Iterator[Measurement]:
    # Ties rank in the order given, so events are shuffled: their order in a file is not chance.
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    reciprocal, precision, recall = rank_scores(scores[:, order], relevant[:, order], _RECALL)
    per_query: dict[str, Floats] = {"map": precision, "mrr": reciprocal}
    per_query |= {f"recall@{k}": recall[k] for k in _RECALL}
    present, index = np.unique(sources, return_inverse=True)
    draws = cluster_draws(len(present), StatisticsConfig().resamples, seed)
    note = f"{scores.shape[1]} events of which {int(relevant.sum(axis=1).mean().round())} on average are relevant"
    for name, values in per_query.items():
        found = mean_estimate(values, index, draws, StatisticsConfig().confidence)
        yield Measurement.of(name, found, len(values), condition=condition, note=note)
