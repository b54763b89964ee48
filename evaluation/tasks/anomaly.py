"""Unsupervised anomaly detection: every head of `logfm detect`, beside what needs no encoder."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import AnomalyOptions
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.detectors import LOGBERT
from logfm.errors import UserError
from logfm.evaluation.anomaly.baselines import baselines
from logfm.evaluation.anomaly.cases import Case, make_case, unit_of
from logfm.evaluation.anomaly.heads import best, event_vectors, fitting, judge
from logfm.evaluation.anomaly.keeping import kept
from logfm.evaluation.anomaly.metrics import METRICS, average_precision, need_both, thresholds
from logfm.evaluation.anomaly.reporting import Scored, chosen, copied, measured
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="anomaly",
    title="Does an abnormal sequence stand out, without labels?",
    paper="SecEncoder, section 4.2.3 and Table 5 (unsupervised); Landauer et al. (2023) for the baselines",
    split="By whole entities, or by time; windows are cut inside a part. 40 % train, 20 % validation, 40 % test.",
    leakage="Encoders see texts without label-bearing fields. Heads see no label but which train sequences are normal, "
    "where they are one-class; labels of validation choose the rule and the threshold; those of the test are scored "
    "against once. Value-masked copies of train in the test are counted, and scores without them given.",
    main_score="pr_auc",
    metrics=METRICS | {"copies": "neither", "known_events": "neither", "recall_of_class": "higher"},
    minutes=16,
    caps={"fit_events": 20_000, "lanobert_texts": 300, "conad_sequences": 1_500, "logbert_steps": 150},
)
OPTIONS = AnomalyOptions
_MOST_CLASSES = 20


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure every head and baseline; condition "" is the head with the best PR-AUC on validation.

    Raises:
        UserError: no labels, one class only in the test, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task anomaly")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    copies, rows = copied(case, data)
    yield from rows
    found, left_out = _heads(contestant, data, case, seed, config)
    head = chosen(found, [average_precision(one.validation, case.validation.labels) for one in found])
    head = replace(head, note="; ".join((head.note, *left_out)))
    key = ("anomaly", data.hash, seed, config.model_dump_json())
    plain = kept(key, lambda: list(_without_encoder(data, case, seed, config)))
    for one in (head, *found, *plain):
        yield from measured(one, case, copies, seed, config.resamples, data)
    yield from _by_class(head, case)


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


def _without_encoder(data: Data, case: Case, seed: int, config: AnomalyOptions) -> Iterator[Scored]:
    for name in config.heads:
        if fitting(name)[0] == LOGBERT:
            none = np.empty((0, 0), dtype=np.float32)
            judged = best(judge(name, case, none, data, None, seed, config), case.validation.labels)
            yield _plain(name, judged.validation, judged.test)
    if not config.baselines:
        return
    for one in baselines(case, data):
        yield _plain(one.name, one.validation, one.test)
    rules = _rules(data, config)
    if rules is not None:
        from logfm.evaluation.anomaly.sigma import by_sequence, sigma_scores

        scores, covered = kept(("sigma", data.hash, str(rules)), lambda: sigma_scores(data, rules))
        if covered:
            yield _plain("sigma", by_sequence(case.validation, scores), by_sequence(case.test, scores))


def _rules(data: Data, config: AnomalyOptions) -> Path | None:
    """Sigma rules: those of the options, else those that the data set names, where they lie in the data folder."""
    if config.rules is not None:
        return Path(config.rules)
    named = unit_of(data).rules
    found = None if named is None or data.folder is None else data.folder / named
    return found if found is not None and found.exists() else None


def _plain(name: str, validation: Floats, test: Floats) -> Scored:
    return Scored(f"baseline {name}", validation, test, "no encoder")
