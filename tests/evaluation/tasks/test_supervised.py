import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly import metrics, reporting
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.trained import LASTLAYER, Limits, logistic, trained
from logfm.evaluation.tasks import lastlayer, supervised
from tests.evaluation.anomaly.samples import (
    BASELINES,
    EVERYTHING,
    IN_TIME,
    PLAIN,
    SECRET,
    Tfidf,
    Words,
    blocks,
    by,
    data,
)

OPTIONS = {"heads": ("logistic",), "resamples": 100}


def test_the_plain_head_finds_what_was_planted():
    rows = list(supervised.run(Words(), blocks(), 0, OPTIONS))
    areas = by(rows, "pr_auc")
    assert areas[""] == areas["logistic"] == 1 and by(rows, "f1")[""] == 1
    assert {row.metric for row in rows} <= set(supervised.META.metrics)
    assert set(areas) == {"", "logistic"} | PLAIN
    assert areas["baseline new-template"] == 1 > 0.5 > areas["baseline length"]
    plain = list(supervised.run(Words(), blocks(), 0, OPTIONS | {"baselines": False}))
    assert set(by(plain, "pr_auc")) == {"", "logistic"}


def test_heads_of_the_room_finetune():
    options = {"heads": ("lstm", "transformer"), "resamples": 100, "epochs": 12, "events": 6, "sequences": 20}
    rows = list(supervised.run(Words(), blocks(90, 3), 0, options))
    areas = by(rows, "pr_auc")
    assert set(areas) == {"", "lstm", "transformer"} | PLAIN and areas[""] in (areas["lstm"], areas["transformer"])
    assert areas[""] > 2 * by(rows, "prevalence")[""]
    assert any("trained on 20 of 36 sequences" in row.note for row in rows)


def _run(monkeypatch, given):
    """Scores of the heads by condition, every threshold, and areas."""
    scores, limits = {}, []

    def measured(scored, *more):
        scores[scored.condition] = scored
        return reporting.measured(scored, *more)

    def thresholds(*of):
        limits.append(metrics.thresholds(*of))
        return limits[-1]

    with monkeypatch.context() as patch:
        patch.setattr(supervised, "measured", measured)
        patch.setattr(reporting, "thresholds", thresholds)
        options = OPTIONS | {"heads": ("logistic", "lstm"), "epochs": 2, "events": 6}
        return scores, limits, by(supervised.run(Words(), given, 0, options), "pr_auc")


def test_labels_of_the_test_train_nothing(monkeypatch):
    # What another test of this process has kept is worked out again, so that every limit is seen.
    monkeypatch.setattr("logfm.evaluation.anomaly.keeping._KEPT", {})
    given, turned = blocks(options=IN_TIME), blocks(options=IN_TIME)
    test = make_case(given, 0).test.events
    turned.labels[test] = 1 - turned.labels[test]
    first, second = _run(monkeypatch, given), _run(monkeypatch, turned)
    (scores, limits, areas), (others, moved, changed) = first, second
    assert set(scores) == set(others) == {"", "logistic", "lstm"}
    for name, one in scores.items():
        assert np.array_equal(one.test, others[name].test) and np.array_equal(one.validation, others[name].validation)
    assert len(limits) == 3 + len(BASELINES) and limits == moved
    assert areas["logistic"] == 1 > changed["logistic"]


def test_encoders_are_fitted_on_train_and_see_no_label():
    given = blocks()
    case = make_case(given, 0)
    contestant = Tfidf()
    list(supervised.run(contestant, given, 0, OPTIONS))
    assert set(contestant.fitted) == {given.texts[row] for row in case.train.events}
    assert not any(SECRET in text for text in contestant.texts)


def test_balanced_classes_move_the_boundary():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3)).astype(np.float32)
    labels = (np.arange(400) < 8).astype(np.int8)
    vectors[:8] += 1
    even, plain = (logistic(vectors, labels, vectors, balanced=kind)[0] for kind in (True, False))
    assert (plain > 0).sum() < 8 < (even > 0).sum()


def test_what_cannot_be_trained():
    given = blocks()
    case = make_case(given, 0)
    with pytest.raises(UserError, match="no such trained head"):
        list(supervised.run(Words(), given, 0, {"heads": ("forest",)}))
    with pytest.raises(UserError, match="holds no anomaly"):
        list(supervised.run(Words(), data(given.texts, given.labels * 0, groups=given.groups), 0, OPTIONS))
    with pytest.raises(UserError, match="whose layers run here"):
        trained(LASTLAYER, case.train, case.validation, {}, given, Words(), None, 0, Limits())
    vectors = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(UserError, match="train part holds no anomaly"):
        logistic(vectors, np.zeros(3, dtype=np.int8), vectors)


def test_the_last_layer_learns(ours):
    rows = list(lastlayer.run(ours, blocks(60, 3), 0, {"resamples": 100, "epochs": 30, "events": 6}))
    areas = by(rows, "pr_auc")
    assert areas[""] > 2 * by(rows, "prevalence")[""]
    assert set(areas) == {"", lastlayer.LOGISTIC_MEANS, EVERYTHING} | PLAIN
    assert {row.metric for row in rows} <= set(lastlayer.META.metrics)


def test_an_encoder_without_layers_has_a_row_that_says_what_it_is():
    rows = list(lastlayer.run(Words(), blocks(), 0, {"resamples": 100, "sequences": 20}))
    areas = by(rows, "pr_auc")
    assert set(areas) == {"", lastlayer.LOGISTIC_MEANS, EVERYTHING} | PLAIN
    assert areas[""] == areas[lastlayer.LOGISTIC_MEANS] == 1
    note = next(row.note for row in rows if row.condition == "" and row.metric == "f1")
    assert "no layers" in note and lastlayer.LOGISTIC_MEANS in note and "trained on 20 of 24 sequences" in note


def test_who_alerts_on_everything_stands_where_f1_leads():
    rows = list(lastlayer.run(Words(), blocks(), 0, {"resamples": 100, "sequences": 20}))
    share = by(rows, "prevalence")[EVERYTHING]
    assert by(rows, "f1")[EVERYTHING] == pytest.approx(2 * share / (1 + share)) and by(rows, "recall")[EVERYTHING] == 1
    assert by(rows, "precision")[EVERYTHING] == by(rows, "pr_auc")[EVERYTHING] == pytest.approx(share)
    # It cannot keep to a rate of false alarms.
    assert by(rows, "recall@1%fpr")[EVERYTHING] == 0
    plain = list(lastlayer.run(Words(), blocks(), 0, {"resamples": 100, "sequences": 20, "baselines": False}))
    assert EVERYTHING not in by(plain, "f1")


def longer_blocks():
    """Blocks of eleven lines; what makes one abnormal lies in the middle of it."""
    given = blocks(60, 3)
    texts = [text.replace("exception", "copied").replace(" is on fire", "") for text in given.texts]
    rows = [row for group in range(60) for row in (*range(6 * group, 6 * group + 6), *[6 * group + 5] * 5)]
    found = data(
        [texts[row] for row in rows], given.labels[rows], groups=[given.groups[row] for row in rows], options={}
    )
    for start in range(0, len(rows), 11):
        if found.labels[start]:
            found.texts[start + 5] = "something burns"
    return found


def test_the_logistic_regression_reads_what_the_head_reads():
    """Of 4 events two are the first and two the last: what lies in between is out of sight."""
    options = {"resamples": 100, "events": 4, "sequences": 20}
    rows = list(lastlayer.run(Words(), longer_blocks(), 0, options))
    assert by(rows, "roc_auc")[""] == by(rows, "roc_auc")[lastlayer.LOGISTIC_MEANS] < 0.8
    assert by(rows, "roc_auc")["baseline new-template"] == 1
    notes = {row.condition: row.note for row in rows if row.metric == "f1"}
    tested = next(row.count for row in rows if row.metric == "f1")
    assert f"{tested} of {tested} test sequences cut to 4 events" in notes[""]
    assert f"reads whole sequences, {tested} of {tested} in the test longer than 4 events" in notes["baseline ngram"]
    whole = list(lastlayer.run(Words(), longer_blocks(), 0, options | {"events": 11}))
    assert by(whole, "roc_auc")[""] == 1 and not any("cut to" in row.note or "whole" in row.note for row in whole)
    rows = list(supervised.run(Words(), longer_blocks(), 0, OPTIONS | {"events": 4}))
    assert by(rows, "roc_auc")["logistic"] < 0.8
    notes = {row.condition: row.note for row in rows if row.metric == "f1"}
    assert "cut to 4 events" in notes["logistic"] and "reads whole sequences" in notes["baseline length"]


def test_lanobert_judges_one_text_of_a_template_where_there_are_too_many(ours):
    from logfm.evaluation.tasks import anomaly

    options = {"heads": ("nearest", "lanobert"), "resamples": 100, "baselines": False, "lanobert_texts": 30}
    rows = list(anomaly.run(ours, blocks(), 0, options))
    assert any("one text of each of 2 value-masked templates" in row.note for row in rows)
    rows = list(anomaly.run(ours, blocks(), 0, options | {"lanobert_texts": 1}))
    assert any("left out: lanobert" in row.note for row in rows) and "lanobert" not in by(rows, "pr_auc")
