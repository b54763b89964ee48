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
    "their events its answers; an event of several descriptions answers each. A sentence filled with an "
    "event's values finds that event by them: `own event left out` searches for the others.",
    main_score="map",
    metrics={"map": "higher", "mrr": "higher"} | {f"recall@{k}": "higher" for k in _RECALL},
    minutes=7,
    caps={"queries": 1000},
    version=2,
    by_event=True,
)
OWN_LEFT_OUT = "own event left out"


class Search(NamedTuple):
    """What is asked of which events. Events are the different texts; an event may answer several descriptions."""

    texts: list[str]
    """The different events."""
    rows: Rows
    """int64 (events,), where each one stands in the data: its first row with a description, else its first."""
    sentences: list[str]
    """What is asked: one sentence of each description."""
    own: Rows
    """int64 (queries,), the event that the sentence was written for."""
    relevant: NDArray[np.bool_]
    """(queries, events): events with the description, or one that differs in values alone."""
    filled: NDArray[np.bool_]
    """(queries,): the description is a sentence that was filled with values, as it has several wordings."""


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Rank all different events for each description, and score the full ranking.

    An event is relevant that has the description or one that differs in values alone; one that several descriptions
    were given to is relevant for each. Intervals are clustered by product, whose descriptions are alike. Descriptions
    of rules (`data.classes` names them) hold no event's values.

    Raises:
        UserError: no descriptions.
    """
    if data.queries is None or not any(data.queries):
        raise UserError("search by meaning needs descriptions", data.spec.name)
    most = options.get("queries")
    found = questions(data, None if most is None else int(most), seed)
    targets = contestant.encode(found.texts, found.texts)
    vectors = contestant.encode(found.sentences, found.texts)
    names = data.sources or [data.spec.name] * len(data.texts)
    sources = np.array([names[row] for row in found.rows])[found.own]
    scores, relevant = _similarities(vectors, targets, len(found.sentences), len(found.texts)), found.relevant
    yield from _measure(scores, relevant, sources, "", seed)
    kinds = data.classes or [""] * len(data.texts)
    ruled = np.array([bool(kinds[row]) for row in found.rows])
    own = np.flatnonzero(found.filled & ~ruled[found.own])
    if len(own):
        places = np.arange(len(own))
        scores, relevant = scores[own], relevant[own]
        scores[places, found.own[own]] = -np.inf
        relevant[places, found.own[own]] = False
        answered = relevant.any(axis=1)
        if answered.any():
            yield from _measure(scores[answered], relevant[answered], sources[own][answered], OWN_LEFT_OUT, seed)


def questions(data: Data, most: int | None, seed: int) -> Search:
    """The different events, and of each of their descriptions (at most so many) one sentence, drawn by seed."""
    described = data.queries or [""] * len(data.texts)
    rows = _events(data.texts, described)
    place = {data.texts[row]: number for number, row in enumerate(rows.tolist())}
    # Every sentence of every event once; an event that stands in the data twice may have two.
    pairs = list(dict.fromkeys((place[text], one) for text, one in zip(data.texts, described, strict=True) if one))
    pairs.sort(key=lambda pair: pair[0])
    of, sentences = np.array([event for event, _ in pairs], dtype=np.int64), [one for _, one in pairs]
    classes = np.unique(masked(sentences), return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(len(pairs))
    asked = sampled(np.sort(order[firsts(classes[order].astype(np.uint64))]), most, seed)
    answers = np.zeros((int(classes.max()) + 1, len(rows)), dtype=bool)
    answers[classes, of] = True
    wordings: dict[int, set[str]] = {}
    for one, sentence in zip(classes.tolist(), sentences, strict=True):
        wordings.setdefault(one, set()).add(sentence)
    filled = np.array([len(wordings[one]) > 1 for one in classes[asked].tolist()], dtype=bool)
    texts = [data.texts[row] for row in rows]
    return Search(texts, rows, [sentences[one] for one in asked], of[asked], answers[classes[asked]], filled)


def _events(texts: list[str], described: list[str]) -> Rows:
    """Different events: of equal ones the first with a description."""
    order = np.argsort([not one for one in described], kind="stable")
    kept = order[firsts([texts[row] for row in order])]
    return np.sort(kept).astype(np.int64)


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
