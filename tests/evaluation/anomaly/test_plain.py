"""Detectors without an encoder beside the heads of every task."""

from dataclasses import replace

import numpy as np

from logfm.configs.schema.anomaly import SupervisedOptions
from logfm.evaluation.anomaly import plain
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.reporting import copied
from logfm.evaluation.tasks import lastlayer, supervised
from tests.evaluation.anomaly.samples import BASELINES, PLAIN, Tfidf, Words, blocks, by, unlike

CONFIG = SupervisedOptions(resamples=100)


def counted(monkeypatch):
    calls = []
    real = plain.baselines
    monkeypatch.setattr(plain, "baselines", lambda case, data: calls.append(case) or real(case, data))
    return calls


def test_what_needs_no_encoder_is_worked_out_once(monkeypatch):
    calls = counted(monkeypatch)
    given = replace(blocks(), hash="once")
    options = {"resamples": 100, "heads": ("logistic",)}
    first = list(supervised.run(Words(), given, 0, options))
    second = list(supervised.run(Tfidf(), given, 0, options))
    list(lastlayer.run(Words(), given, 0, {"resamples": 100}))
    assert len(calls) == 1
    areas = [{name: one for name, one in by(rows, "pr_auc").items() if "baseline" in name} for rows in (first, second)]
    assert areas[0] == areas[1] and set(areas[0]) == PLAIN
    list(supervised.run(Words(), given, 1, options))
    assert len(calls) == 2


def test_other_templates_seen_are_other_rows():
    given = blocks(150)
    case = make_case(given, 0)
    given = unlike(given, case.test.rows[:40])
    copies, _ = copied(case, given)

    def conditions(seen):
        data = replace(given, seen=seen)
        return {row.condition for row in plain.plain_rows(case, data, copies, 0, CONFIG)}

    none = np.zeros(len(given.texts), dtype=bool)
    some = none.copy()
    some[case.test.rows[0]] = True
    assert "baseline ngram, no copies" in conditions(none) and "baseline ngram, unseen templates" not in conditions(
        none
    )
    assert "baseline ngram, unseen templates" in conditions(some)


def test_none_where_they_are_not_wanted_or_nothing_is_normal():
    given = blocks()
    case = make_case(given, 0)
    assert {one.condition for one in plain.without_encoder(case, given, CONFIG)} == BASELINES
    assert not list(plain.without_encoder(case, given, SupervisedOptions(baselines=False)))
    abnormal = replace(case, train=case.train.take(case.train.labels > 0))
    assert not list(plain.without_encoder(abnormal, given, CONFIG))


def chosen_of(given, case, also=()):
    copies, _ = copied(case, given)
    rows = plain.plain_rows(case, given, copies, 0, CONFIG, also=also)
    return {row.metric: row for row in rows if row.condition == plain.CHOSEN}, rows


def test_validation_chooses_one_of_them_whatever_the_test_says():
    given = blocks()
    case = make_case(given, 0)
    found, rows = chosen_of(given, case)
    assert found["f1"].note.startswith("chosen on validation: new-template; no encoder") and found["pr_auc"].value == 1
    own = {row.metric: row.value for row in rows if row.condition == "baseline new-template"}
    assert {name: row.value for name, row in found.items()} == own
    # One that is right about the test and wrong about validation is not taken.
    turned = replace(case, test=replace(case.test, labels=1 - case.test.labels))
    late = plain.plain("late", -case.validation.labels.astype(float), turned.test.labels.astype(float))
    early, _ = chosen_of(replace(given, hash="turned"), turned, also=[(late, [])])
    assert "new-template" in early["f1"].note and early["roc_auc"].value == 0


def test_without_anomalies_in_validation_the_first_stands():
    given = replace(blocks(), hash="normal")
    case = make_case(given, 0)
    validation = case.validation.take(case.validation.labels == 0)
    found, _ = chosen_of(given, replace(case, validation=validation))
    assert found["pr_auc"].note.startswith("no anomaly in validation to choose by, so the first: new-template")
