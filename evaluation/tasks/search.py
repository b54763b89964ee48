"""Log search: does a line find the other lines of its template?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from logfm.configs.schema.evaluation import SearchConfig, StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, firsts, masked, one_of_each, sampled
from logfm.evaluation.search import halves, search
from logfm.evaluation.suite.task import Contestant, Data, Measurement
from logfm.evaluation.tasks.similarity import NO_COPIES

_RECALL = SearchConfig().recall_at
META = TaskMeta(
    name="search",
    title="Does a line find the other lines of its template?",
    paper="SecEncoder, section 4.2.2 and Table 3 (template); mixed systems are the realistic case",
    split="Random halves of the different lines, by seed: one queries, the other is searched and may be fitted on.",
    leakage="Templates and labels are for the metrics alone. Equal lines count once. Queries that have a value-masked "
    "copy among the references are counted; `no copies` keeps one line of each value-masked text.",
    main_score="map",
    metrics={"map": "higher", "macro_map": "higher", "mrr": "higher", "copies": "neither"}
    | {f"recall@{k}": "higher" for k in _RECALL},
    minutes=3,
    caps={"queries": 1000, "lines": 24_000},
    by_event=True,
)


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure MRR, MAP, macro MAP and recall@k on all different lines, and on those without value-masked copies.

    Raises:
        UserError: no templates, or no query with another line of its template.
    """
    if data.templates is None:
        raise UserError("search needs templates", data.spec.name)
    lines = sampled(firsts(data.texts), _most(options, "lines"), seed)
    hashes = masked([data.texts[row] for row in lines])
    yield from _measure(contestant, data, lines, hashes, seed, options, "")
    apart = one_of_each(hashes, seed)
    try:
        found = list(_measure(contestant, data, lines[apart], hashes[apart], seed, options, NO_COPIES))
    except UserError:
        return
    yield from found


def _measure(
    contestant: Contestant,
    data: Data,
    lines: Rows,
    hashes: np.ndarray,
    seed: int,
    options: Mapping[str, Any],
    condition: str,
) -> Iterator[Measurement]:
    asked, references = halves(len(lines), seed)
    asked = asked[: _most(options, "queries")]
    used = np.concatenate([asked, references])
    texts = [data.texts[row] for row in lines[used]]
    vectors = contestant.encode(texts, texts[len(asked) :])
    templates = [data.templates[row] for row in lines[used]] if data.templates is not None else []
    places = np.arange(len(used))
    queries = places[: len(asked)]
    found = search(vectors, templates, queries, places[len(asked) :], SearchConfig(), StatisticsConfig(), seed)
    told, count = len(set(found.templates.tolist())), len(found.queries)
    note = f"{told} templates, {found.references} references; {sum(found.left_out.values())} lines had nothing to find"
    for name, estimate in found.metrics.items():
        yield Measurement.of(name, estimate, count, condition=condition, note=note)
    if not condition:
        copied = np.isin(hashes[asked], hashes[references])
        yield Measurement("copies", float(copied.mean()), count=len(asked), note="queries with a value-masked copy")


def _most(options: Mapping[str, Any], name: str) -> int | None:
    value = options.get(name)
    return None if value is None else int(value)
