"""Subsampling: how much of a log do ten events show?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.columns import flat_values
from logfm.embeddings.subsample import max_min
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, sampled
from logfm.evaluation.data.native.general import object_of
from logfm.evaluation.stats import Floats, estimate
from logfm.evaluation.suite.task import Contestant, Data, Measurement
from logfm.evaluation.vectors import Matrix, unit_rows
from logfm.extras import require

META = TaskMeta(
    name="subsampling",
    title="How many different things do ten chosen events of 2,000 show?",
    paper="SecEncoder, section 5.1 and Table 8: greedy Max-Min against random and TF-IDF with clustering",
    split="None is needed: nothing is trained. 2,000 events a source, drawn by seed.",
    leakage="No labels. TF-IDF is fitted on the table itself, as an analyst would: the task is to describe that table.",
    main_score="entities",
    metrics={
        "entities": "higher",
        "levenshtein": "neither",
        "levenshtein_normalised": "higher",
        "characters": "neither",
    },
    minutes=9,
    caps={"events": 2000, "chosen": 10},
)
RANDOM, CLUSTERS = "baseline random choice", "baseline TF-IDF + k-means"
_LONGEST = 4000
_HALVES = 200
_EVENTS = 2000  # the paper's


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Choose events by the greedy Max-Min on the contestant's vectors, and beside it by the paper's two baselines.

    `entities` are different values: of each column of JSON events, else words. `levenshtein` is the mean edit distance
    in characters between two chosen events, and grows with their length, so that an encoder that likes long lines
    wins it; `levenshtein_normalised` is its share of the longer one's length and is what is compared. Intervals
    come from random halves of the table (the delete-half jackknife), which are the same for all contestants.

    Raises:
        UserError: not twice as many events as are to be chosen.
    """
    count, most = int(options.get("chosen", 10)), int(options.get("events", _EVENTS))
    rows = sampled(np.arange(len(data.texts)), most, seed)
    texts = [data.texts[row] for row in rows]
    if len(set(texts)) <= 2 * count:
        raise UserError(f"{len(set(texts))} different events are too few to choose {count} from", data.spec.name)
    vectors = _dense(contestant.encode(texts, texts), len(texts))
    values = _measure([texts[place] for place in max_min(vectors, count)[0]])
    halves = _on_halves(vectors, texts, count, seed)
    for name, value in values.items():
        spread = halves[name] - halves[name].mean() + value
        yield Measurement.of(name, estimate(value, spread, StatisticsConfig().confidence), count)
    for baseline, (places, among) in _baselines(tuple(texts), count, seed).items():
        for name, value in _measure([texts[place] for place in places]).items():
            spread = among[name] - among[name].mean() + value
            found = estimate(value, spread, StatisticsConfig().confidence)
            yield Measurement.of(name, found, len(places), condition=baseline)


def _on_halves(vectors: np.ndarray, texts: list[str], count: int, seed: int) -> dict[str, Floats]:
    """The measures of what is chosen from each of many random halves, float64 (halves,)."""
    return _jackknife(texts, seed, lambda kept: kept[max_min(vectors[kept], count)[0]])


def _jackknife(texts: Sequence[str], seed: int, choose: Callable[[Rows], Rows]) -> dict[str, Floats]:
    """The measures of what `choose` takes from each of the halves, which are the same for everybody."""
    rng = np.random.default_rng([seed, 1])
    found = []
    for _ in range(_HALVES):
        kept = np.sort(rng.permutation(len(texts))[: len(texts) // 2])
        found.append(_measure([texts[place] for place in choose(kept)]))
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def _measure(texts: list[str]) -> dict[str, float]:
    distances, shares = _distances(texts)
    return {
        "entities": float(len(_entities(texts))),
        "levenshtein": float(np.mean(distances)) if distances else 0.0,
        "levenshtein_normalised": float(np.mean(shares)) if shares else 0.0,
        "characters": float(np.mean([len(text) for text in texts])),
    }


def _entities(texts: Sequence[str]) -> set[tuple[str, str]]:
    """Different values: those of a JSON event, each with its column, and the words of any other."""
    return set().union(*map(_values, texts))


@lru_cache(maxsize=4096)
def _values(text: str) -> frozenset[tuple[str, str]]:
    columns = flat_values(object_of(text)) if text.lstrip().startswith("{") else {}
    return frozenset(columns.items() or (("", word) for word in text.split()))


def _distances(texts: Sequence[str]) -> tuple[list[int], list[float]]:
    """Edit distances between all pairs (of their first characters), and their shares of the longer one."""
    levenshtein = require("rapidfuzz.distance.Levenshtein", "eval")
    heads = [text[:_LONGEST] for text in texts]
    pairs = list(combinations(heads, 2))
    distances = [int(levenshtein.distance(left, right)) for left, right in pairs]
    longest = [max(len(left), len(right), 1) for left, right in pairs]
    return distances, [distance / length for distance, length in zip(distances, longest, strict=True)]


@lru_cache(maxsize=8)
def _baselines(texts: tuple[str, ...], count: int, seed: int) -> dict[str, tuple[Rows, dict[str, Floats]]]:
    """What needs no encoder, chosen once for all contestants: the rows, and the measures on halves."""
    rng = np.random.default_rng(seed)
    chance = rng.choice(len(texts), size=count, replace=False)
    distances = _to_centres(texts, count, seed)

    def central(kept: Rows) -> Rows:
        return np.unique(kept[np.argmin(distances[kept], axis=0)]).astype(np.int64)

    def by_chance(kept: Rows) -> Rows:
        return rng.choice(kept, size=count, replace=False)

    every = np.arange(len(texts))
    return {
        RANDOM: (chance, _jackknife(texts, seed, by_chance)),
        CLUSTERS: (central(every), _jackknife(texts, seed, central)),
    }


def _to_centres(texts: Sequence[str], count: int, seed: int) -> Floats:
    """Distances of each event to the centre of each k-means cluster of TF-IDF vectors, float64 (texts, count)."""
    from logfm.evaluation.baselines import tfidf

    cluster = require("sklearn.cluster", "embed")
    vectors = tfidf(texts)(texts)
    found = cluster.KMeans(count, n_init=3, random_state=seed).fit(vectors)
    return np.asarray(found.transform(vectors), dtype=np.float64)


def _dense(vectors: Matrix, rows: int) -> np.ndarray:
    """Rows of length 1, float32. Sparse ones in as many dimensions as there are rows: their distances stay."""
    units = unit_rows(vectors, rows)
    if not hasattr(units, "toarray"):
        return np.asarray(units, dtype=np.float32)
    if units.shape[1] <= rows:
        return np.asarray(units.toarray(), dtype=np.float32)
    values, directions = np.linalg.eigh((units @ units.T).toarray().astype(np.float64))
    return np.asarray(directions * np.sqrt(np.maximum(values, 0.0)), dtype=np.float32)
