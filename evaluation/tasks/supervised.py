"""Supervised anomaly detection: heads trained on labels, over frozen vectors."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import SupervisedOptions
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import limited, make_case
from logfm.evaluation.anomaly.heads import event_vectors
from logfm.evaluation.anomaly.metrics import METRICS, need_both
from logfm.evaluation.anomaly.plain import plain_rows
from logfm.evaluation.anomaly.reporting import COPIES, Scored, chosen, copied, measured, noted
from logfm.evaluation.anomaly.trained import Limits, cut_note, most_events, trained, whole_note
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="supervised",
    title="Does a head that is trained on labels find abnormal sequences in frozen vectors?",
    paper="SecEncoder, section 4.2.3 and Table 5 (supervised LSTM and GNN); NeuralLog (Le and Zhang, ASE 2021)",
    split="By whole entities, or by time; windows are cut inside a part. 40 % train, 20 % validation, 40 % test.",
    leakage="The encoder is frozen and sees texts without label-bearing fields. Heads are fitted on train; validation "
    "stops the training and gives the threshold. Detectors without an encoder see no label but which train sequences "
    "are normal. Scores without value-masked copies of train are given. Heads read at most so many "
    "events of a sequence, and the logistic regression the same; detectors without an encoder read all of them.",
    main_score="pr_auc",
    metrics=METRICS | COPIES,
    minutes=9,
    caps={"epochs": 6, "sequences": 600, "events": 48},
    version=3,
)
OPTIONS = SupervisedOptions


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure every head; condition "" is the head with the best PR-AUC on validation.

    Raises:
        UserError: no labels, one class only in a part, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task supervised")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    vectors = event_vectors(contestant, data, case)
    train = limited(case.train, config.sequences, seed)
    copies, rows = copied(case, data)
    yield from rows
    judged = {"validation": case.validation, "test": case.test}
    found, refused = [], []
    limits = Limits(config.epochs, config.events)
    for kind in config.heads:
        try:
            scores = trained(kind, train, case.validation, judged, data, contestant, vectors, seed, limits)
        except UserError as error:
            refused.append(f"left out: {kind} ({error})")
            continue
        drawn = f"trained on {len(train)} of {len(case.train)} sequences" if len(train) < len(case.train) else ""
        epochs = f"at most {config.epochs} epochs" if config.epochs is not None else ""
        note = noted(drawn, epochs, cut_note(case.test, most_events(kind, limits)))
        found.append(Scored(kind, scores["validation"], scores["test"], note))
    if not found:
        raise UserError("no head can be trained here", data.spec.name, "; ".join(refused))
    best = chosen(found, case.validation.labels)
    best = replace(best, note=noted(best.note, *refused))
    for one in (*found, best):
        yield from measured(one, case, copies, seed, config.resamples, data)
    yield from plain_rows(case, data, copies, seed, config, whole_note(case.test, config.events))
