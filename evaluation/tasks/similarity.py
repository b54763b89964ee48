"""Log similarity: do lines of one template lie closer than lines of different ones?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from logfm.configs.schema.evaluation import SimilarityConfig, StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, firsts, masked, one_of_each, sampled
from logfm.evaluation.search import halves
from logfm.evaluation.similarity import draw_pairs, similarity
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="similarity",
    title="Do lines of one template lie closer than lines of different templates?",
    paper="SecEncoder, section 4.2.1 and Table 3",
    split="Random halves of the different lines, by seed: pairs come from one, the other may be fitted on.",
    leakage="No statistic of the lines that are paired reaches the encoder: what is fitted, is fitted on the other "
    "half. Equal lines count once. `no copies` draws from one line of each value-masked text.",
    main_score="pair_auc",
    metrics={"pair_auc": "higher", "pmean": "neither", "nmean": "neither", "diff": "neither"},
    minutes=5,
    caps={"pairs": 1000, "lines": 4000},
    by_event=True,
)
NO_COPIES = "no copies"


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure PMean, NMean, Diff and pair AUC on all different lines, and on those without value-masked copies.

    Diff is a matter of scale and proves nothing between encoders. `no copies` is left out where no template has two
    lines that differ in more than values.

    Raises:
        UserError: no templates, or too few lines of them.
    """
    if data.templates is None:
        raise UserError("similarity needs templates", data.spec.name)
    lines = sampled(firsts(data.texts), _most(options, "lines"), seed)
    yield from _measure(contestant, data, lines, seed, options, "")
    hashes = masked([data.texts[row] for row in lines])
    apart = lines[one_of_each(hashes, seed)]
    try:
        found = list(_measure(contestant, data, apart, seed, options, NO_COPIES))
    except UserError:
        return
    yield from found


def _measure(
    contestant: Contestant, data: Data, lines: Rows, seed: int, options: Mapping[str, Any], condition: str
) -> Iterator[Measurement]:
    paired, others = (lines[half] for half in halves(len(lines), seed))
    templates = [data.templates[row] for row in paired] if data.templates is not None else []
    count = int(options.get("pairs", SimilarityConfig().pairs))
    pairs = draw_pairs(templates, SimilarityConfig(pairs=count), seed)
    vectors = contestant.encode([data.texts[row] for row in paired], [data.texts[row] for row in others])
    told = len(np.unique(pairs.codes[pairs.positive[:, 0]]))
    note = f"{len(paired)} lines of {pairs.templates} templates, {told} of them in pairs"
    for name, found in similarity(vectors, pairs, StatisticsConfig(), seed).items():
        yield Measurement.of(name, found, 2 * count, condition=condition, note=note)


def _most(options: Mapping[str, Any], name: str) -> int | None:
    value = options.get(name)
    return None if value is None else int(value)
