"""Fine-tuning: the encoder is frozen up to its last layer, which is trained with a classification layer behind it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import LastlayerOptions
from logfm.configs.schema.suite import TaskMeta
from logfm.evaluation.anomaly.cases import limited, make_case
from logfm.evaluation.anomaly.heads import event_vectors
from logfm.evaluation.anomaly.metrics import METRICS, need_both
from logfm.evaluation.anomaly.plain import everything, plain_rows
from logfm.evaluation.anomaly.reporting import COPIES, Scored, copied, measured, noted
from logfm.evaluation.anomaly.trained import LASTLAYER, LOGISTIC, Limits, cut_note, most_events, trained, whole_note
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="lastlayer",
    title="How well does an encoder take to a task when its last layer may learn?",
    paper="SecEncoder, section 4.2.3, Table 6: the events' token means are concatenated for a classification layer. "
    "Encoders without layers stand beside by logistic regression on mean vectors",
    split="By whole entities, or by time; windows are cut inside a part. 40 % train, 20 % validation, 40 % test.",
    leakage="The encoder sees texts without label-bearing fields, and learns from train alone; validation stops the "
    "training and gives the threshold. Scores without value-masked copies of train are given. The logistic "
    "regression reads the events that the head reads; detectors without an encoder read all of them.",
    main_score="f1",
    metrics=METRICS | COPIES,
    minutes=4,
    caps={"epochs": 3, "sequences": 100, "events": 16},
    version=3,
)
OPTIONS = LastlayerOptions
LOGISTIC_MEANS = "logistic regression on mean vectors"


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure the head. F1 leads, as in the paper's table, at a threshold that validation chose.

    Condition `LOGISTIC_MEANS` is what needs no layer to learn: a logistic regression on mean vectors, of every
    encoder. Those without layers have it as condition "", too, and its note says so.

    Raises:
        UserError: no labels, one class only in a part, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task lastlayer")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    train = limited(case.train, config.sequences, seed)
    copies, rows = copied(case, data)
    yield from rows
    note = f"trained on {len(train)} of {len(case.train)} sequences" if len(train) < len(case.train) else ""
    # Whoever has no layers is ranked beside the head, so all read what the head reads.
    most = most_events(LASTLAYER, Limits(events=config.events))
    note = noted(note, cut_note(case.test, most))
    limits = Limits(config.epochs, most)

    def scored(kind: str, vectors: NDArray[np.float32] | None) -> Scored:
        judged = {"validation": case.validation, "test": case.test}
        scores = trained(kind, train, case.validation, judged, data, contestant, vectors, seed, limits)
        return Scored("", scores["validation"], scores["test"], note)

    means = scored(LOGISTIC, event_vectors(contestant, data, case))
    if contestant.layered is None:
        said = "this encoder has no layers that can be trained: logistic regression on mean vectors"
        leading = replace(means, note=noted(said, note))
    else:
        leading = scored(LASTLAYER, None)
    constant = (everything(case),) if config.baselines else ()
    for one in (leading, replace(means, condition=LOGISTIC_MEANS), *constant):
        yield from measured(one, case, copies, seed, config.resamples, data)
    yield from plain_rows(case, data, copies, seed, config, whole_note(case.test, most))
