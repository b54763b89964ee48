"""Fine-tuning: the encoder is frozen up to its last layer, which is trained with a classification layer behind it."""

from collections.abc import Iterator, Mapping
from typing import Any

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import LastlayerOptions
from logfm.configs.schema.suite import TaskMeta
from logfm.evaluation.anomaly.cases import limited, make_case
from logfm.evaluation.anomaly.metrics import METRICS, need_both
from logfm.evaluation.anomaly.reporting import Scored, copied, measured
from logfm.evaluation.anomaly.trained import LASTLAYER, Limits, trained
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="lastlayer",
    title="How well does an encoder take to a task when its last layer may learn?",
    paper="SecEncoder, section 4.2.3, Table 6: the events' token means are concatenated for a classification layer",
    split="By whole entities, or by time; windows are cut inside a part. 40 % train, 20 % validation, 40 % test.",
    leakage="The encoder sees texts without label-bearing fields, and learns from train alone; validation stops the "
    "training and gives the threshold. Scores without value-masked copies of train are given.",
    main_score="f1",
    metrics=METRICS | {"copies": "neither", "known_events": "neither"},
    minutes=2,
    caps={"epochs": 5, "sequences": 200, "events": 16},
)
OPTIONS = LastlayerOptions


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure the head. F1 leads, as in the paper's table, at a threshold that validation chose.

    Raises:
        UserError: no labels, one class only in a part, an encoder of another kind, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task lastlayer")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    train = limited(case.train, config.sequences, seed)
    copies, rows = copied(case, data)
    yield from rows
    judged = {"validation": case.validation, "test": case.test}
    limits = Limits(config.epochs, config.events)
    scores = trained(LASTLAYER, train, case.validation, judged, data, contestant, None, seed, limits)
    note = f"trained on {len(train)} of {len(case.train)} sequences" if len(train) < len(case.train) else ""
    scored = Scored("", scores["validation"], scores["test"], note)
    yield from measured(scored, case, copies, seed, config.resamples, data)
