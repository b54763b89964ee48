"""Unsupervised anomaly detection: every head of `logfm detect`, beside what needs no encoder."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import AnomalyOptions
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.detectors import LOGBERT
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import Case, make_case
from logfm.evaluation.anomaly.heads import best, event_vectors, fitting, judge, transductive
from logfm.evaluation.anomaly.metrics import METRICS, need_both, thresholds
from logfm.evaluation.anomaly.plain import measured_once, plain, plain_rows
from logfm.evaluation.anomaly.reporting import COPIES, Scored, chosen, copied, measured
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="anomaly",
    title="Does an abnormal sequence stand out, without labels?",
    paper="SecEncoder, section 4.2.3 and Table 5 (unsupervised); Landauer et al. (2023) for the baselines",
    split="By whole entities, or by time; windows are cut inside a part. 40 % train, 20 % validation, 40 % test.",
    leakage="Encoders see texts without label-bearing fields. Heads see no label but which train sequences are normal, "
    "where they are one-class; labels of validation choose the rule and the threshold; those of the test are scored "
    "against once. Conad's graph and ecod's tails hold the test's vectors: they have rows of their own and never lead. "
    "Value-masked copies of train in the test are counted, and scores without them given.",
    main_score="pr_auc",
    metrics=METRICS | COPIES | {"recall_of_class": "higher"},
    minutes=9,
    caps={"fit_events": 20_000, "lanobert_texts": 300, "conad_sequences": 1_500, "logbert_steps": 150},
    version=2,
)
OPTIONS = AnomalyOptions
_MOST_CLASSES = 20


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure every head and baseline; condition "" is the head with the best PR-AUC on validation,
    of those that have not seen the test.

    Raises:
        UserError: no labels, one class only in the test, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task anomaly")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    copies, rows = copied(case, data)
    yield from rows
    found, left_out = _heads(contestant, data, case, seed, config)
    leading = _leading(found, left_out, case)
    for one in (*leading, *found):
        yield from measured(one, case, copies, seed, config.resamples, data)
    what = ("logbert", config.model_dump_json())
    logbert = measured_once(
        what, lambda: _logbert(data, case, seed, config), case, data, copies, seed, config.resamples
    )
    yield from plain_rows(case, data, copies, seed, config, also=logbert)
    for one in leading:
        yield from _by_class(one, case)


def _leading(found: list[Scored], left_out: list[str], case: Case) -> list[Scored]:
    """The head with the best PR-AUC on validation, of those that have not seen the test; none where there is none."""
    free = [one for one in found if not transductive(one.condition)]
    if not free:
        return []
    head = chosen(free, case.validation.labels)
    return [replace(head, note="; ".join((head.note, *left_out)))]


def _heads(
    contestant: Contestant, data: Data, case: Case, seed: int, config: AnomalyOptions
) -> tuple[list[Scored], list[str]]:
    """Scores of every head that reads vectors or the encoder, and what was left out and why.

    Raises:
        UserError: an unknown head, or every one refuses.
    """
    found, left_out = [], []
    names = [name for name in config.heads if fitting(name)[0] != LOGBERT]
    vectors = event_vectors(contestant, data, case)
    for name in names:
        try:
            one = best(judge(name, case, vectors, data, contestant, seed, config), case.validation.labels)
        except UserError as error:
            left_out.append(f"left out: {name} ({error})")
            continue
        note = "; ".join(part for part in (f"rule {one.rule}", one.note) if part)
        found.append(Scored(name, one.validation, one.test, note))
    if not found:
        raise UserError("no head can score these vectors", data.spec.name, "; ".join(left_out))
    return found, left_out


def _by_class(scored: Scored, case: Case) -> Iterator[Measurement]:
    """Recall of each phase or kind at the threshold of F1, where there are few enough of them for a table."""
    if len(set(case.test.classes)) > _MOST_CLASSES:
        return
    alerts = scored.test > thresholds(scored.validation, case.validation.labels).f1
    for name in sorted({one for one in case.test.classes if one}):
        of = np.array([one == name for one in case.test.classes]) & (case.test.labels > 0)
        if of.any():
            value = float(alerts[of].mean())
            yield Measurement("recall_of_class", value, count=int(of.sum()), condition=f"class {name}")


def _logbert(data: Data, case: Case, seed: int, config: AnomalyOptions) -> Iterator[Scored]:
    for name in config.heads:
        if fitting(name)[0] == LOGBERT:
            none = np.empty((0, 0), dtype=np.float32)
            judged = best(judge(name, case, none, data, None, seed, config), case.validation.labels)
            yield plain(name, judged.validation, judged.test, judged.note)
