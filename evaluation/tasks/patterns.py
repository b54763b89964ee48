"""Pattern detection: are the five rows that fit a table worst known anomalies?"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from logfm.configs.schema.embeddings import PatternsConfig
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.columns import COMMON, Columns, columns_of, free_texts, label_codes
from logfm.embeddings.held import first_of_equal
from logfm.embeddings.patterns import isolation, principal
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, masked
from logfm.evaluation.stats import Estimate, Floats, effective_clusters, estimate, ratio
from logfm.evaluation.suite.task import Contestant, Data, Measurement
from logfm.evaluation.vectors import Matrix
from logfm.extras import require

LABELS, EMBEDDINGS, HYBRID = "label encoding", "embeddings", "hybrid"
META = TaskMeta(
    name="patterns",
    title="Are the five rows that fit a table's patterns worst known anomalies?",
    paper="SecEncoder, section 5.2: Isolation Forest on label encoding, embeddings, and both; hits in the top 5",
    split="None is needed: nothing is fitted with labels. Tables of 2,000 rows of one source, drawn by seed.",
    leakage="Labels choose the table's rows and score them; no column holds one. The forest and TF-IDF are fitted on "
    "the table itself, as the task has it. Anomalies are thinned to 2 %, because a table of attacks has no outliers; "
    "types take turns, so that the commonest is not all of them.",
    main_score="hits",
    metrics={"hits": "higher", "average_precision": "higher", "anomalous": "neither"},
    minutes=2,
    caps={"rows": 2000},
    lead=HYBRID,
    version=2,
)
_TOP, _SHARE, _LEAST, _RESAMPLES = 5, 0.02, 5, 500


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure the share of anomalies among the five different texts with the highest scores, mean over the tables.

    A row is anomalous where most rows of the same text in its source have the label 1. `anomalous` is the share of such
    texts among the table's different ones, and what chance would score.
    Sources (or entities, as the data set's option `tables` says) with fewer than five anomalies make no table.

    Raises:
        UserError: no labels, or no source with enough of both classes.
    """
    if data.labels is None:
        raise UserError("pattern detection needs labels", data.spec.name)
    names = _names(data)
    anomalous = _anomalous(data, names)
    tables = _tables(data, names, anomalous, int(options.get("rows", 2000)), seed)
    if not tables:
        raise UserError(f"no source has {_LEAST} anomalies among enough other rows", data.spec.name)
    found: dict[str, list[dict[str, Estimate]]] = defaultdict(list)
    shares: list[float] = []
    for number, rows in enumerate(tables.values()):
        texts = [data.texts[row] for row in rows]
        marks = anomalous[rows]
        shares.append(float(marks[np.unique(np.array(texts, dtype=object), return_index=True)[1]].mean()))
        for name, scores in _scores(contestant, data, rows, seed).items():
            found[name].append(_judged(scores, marks, texts, [seed, number]))
    note = f"tables: {', '.join(tables)}"[:300]
    for name, estimates in found.items():
        for metric in estimates[0]:
            value = float(np.mean([one[metric].value for one in estimates]))
            replicates = np.mean([one[metric].replicates for one in estimates], axis=0)
            clusters = effective_clusters([(one[metric].replicates, one[metric].clusters) for one in estimates])
            whole = estimate(value, replicates, StatisticsConfig().confidence, clusters)
            yield Measurement.of(metric, whole, len(tables), condition=name, note=note)
    yield Measurement("anomalous", float(np.mean(shares)), count=len(tables), note=note)


def _of_texts(marks: NDArray[np.bool_], texts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether most rows of a row's text are marked, bool (n,): equal texts can't be told apart, whatever labels say."""
    _, of = np.unique(np.array(texts, dtype=object), return_inverse=True)
    marked: NDArray[np.bool_] = np.bincount(of, weights=marks) > np.bincount(of) / 2
    return marked[of]


def _judged(scores: Floats, marks: NDArray[np.bool_], texts: list[str], seed: Sequence[int]) -> dict[str, Estimate]:
    """Hits in the top and average precision of one table. The bootstrap draws rows by their value-masked texts and
    leaves the forest as it is."""
    _, clusters = np.unique(masked(texts), return_inverse=True)
    draws = np.random.default_rng([*seed, 2]).multinomial(
        clusters.max() + 1, np.full(clusters.max() + 1, 1 / (clusters.max() + 1)), size=_RESAMPLES
    )
    order, _ = first_of_equal(scores, texts, len(texts))
    present = draws[:, clusters[order]] > 0
    top = present & (np.cumsum(present, axis=1) <= _TOP)
    hits = ratio((top * marks[order]).sum(axis=1), top.sum(axis=1))
    weights = draws[:, clusters].astype(np.float64)
    precision = _average_precision(scores, marks, weights)
    # What the figures can vary with.
    different = len(np.unique(clusters[marks]))
    exact = _average_precision(scores, marks, np.ones((1, len(marks))))
    return {
        "hits": Estimate(float(marks[order[:_TOP]].mean()), np.nan, np.nan, hits, min(_TOP, different)),
        "average_precision": Estimate(float(exact[0]), np.nan, np.nan, precision, different),
    }


def _average_precision(scores: Floats, marks: NDArray[np.bool_], weights: Floats) -> Floats:
    """Average precision for each row of weights (r, n), rows of equal score taken at once; float64 (r,)."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    everything = np.add.reduceat(weights[:, order], starts, axis=1)
    positive = np.add.reduceat(weights[:, order] * marks[order], starts, axis=1)
    precision = np.nan_to_num(ratio(np.cumsum(positive, axis=1), np.cumsum(everything, axis=1)))
    return ratio((positive * precision).sum(axis=1), positive.sum(axis=1))


def _names(data: Data) -> NDArray[Any]:
    """The table that each row belongs to."""
    by = data.groups if data.spec.options.get("tables") == "group" else data.sources
    return np.array(by if by is not None else [data.spec.name] * len(data.texts))


def _anomalous(data: Data, names: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row is anomalous, bool (n,)."""
    found = np.zeros(len(names), dtype=bool)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        found[rows] = _of_texts(np.asarray(data.labels)[rows] == 1, [data.texts[row] for row in rows])
    return found


def _tables(data: Data, names: NDArray[Any], marks: NDArray[np.bool_], size: int, seed: int) -> dict[str, Rows]:
    """Rows of a table a source, in the data set's order."""
    tables = {}
    for number, name in enumerate(np.unique(names).tolist()):
        rng = np.random.default_rng([seed, number])
        normal = np.flatnonzero((names == name) & ~marks)
        kinds = np.array(data.classes or [""] * len(names))
        anomalous = _in_turns(np.flatnonzero((names == name) & marks), kinds, rng)
        wanted = round(min(size, len(normal) / (1 - _SHARE)) * _SHARE)
        if min(wanted, len(anomalous)) < _LEAST:
            continue
        kept = anomalous[:wanted]
        others = rng.choice(normal, size=min(len(normal), size - len(kept)), replace=False)
        tables[str(name)] = np.sort(np.concatenate([kept, others]))
    return tables


def _in_turns(rows: Rows, kinds: NDArray[Any], rng: np.random.Generator) -> Rows:
    """The rows in random order, one of each kind after the other."""
    shuffled = rng.permutation(rows)
    seen: dict[str, int] = defaultdict(int)
    turns = []
    for kind in kinds[shuffled].tolist():
        turns.append(seen[kind])
        seen[kind] += 1
    return shuffled[np.argsort(turns, kind="stable")]


def _scores(contestant: Contestant, data: Data, rows: Rows, seed: int) -> dict[str, Floats]:
    """The score of each row in the three ways, higher is more abnormal; two of them need structured columns."""
    config = PatternsConfig(seed=seed)
    texts = [data.texts[row] for row in rows]
    columns = columns_of([_record(data, row) for row in rows], None)
    found = {EMBEDDINGS: isolation(_dense(contestant.encode(texts, texts), seed), config)}
    if columns.structured:
        codes = label_codes(columns.structured)
        found[LABELS] = isolation(codes, config)
        found[HYBRID] = isolation(np.concatenate((codes, _free(contestant, columns, config)), axis=1), config)
    return found


def _free(contestant: Contestant, columns: Columns, config: PatternsConfig) -> np.ndarray:
    texts = free_texts(columns.free)
    return principal(_dense(contestant.encode(texts, texts), config.seed), config)


def _record(data: Data, row: int) -> dict[str, Any]:
    fields = data.records[row] if data.records is not None else {}
    known: dict[str, Any] = dict.fromkeys(COMMON) | {"text": data.texts[row]}
    return known | {"fields": orjson.dumps(fields, option=orjson.OPT_NON_STR_KEYS).decode() if fields else None}


def _dense(vectors: Matrix, seed: int) -> np.ndarray:
    """Float32 rows; sparse ones in their 256 main directions, because a tree would hardly ever look at a word."""
    if not hasattr(vectors, "toarray"):
        return np.asarray(vectors, dtype=np.float32)
    if min(vectors.shape) <= 256:
        return np.asarray(vectors.toarray(), dtype=np.float32)
    decomposition = require("sklearn.decomposition", "embed")
    return np.asarray(decomposition.TruncatedSVD(256, random_state=seed).fit_transform(vectors), dtype=np.float32)
