from dataclasses import replace

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.plain import CHOSEN
from logfm.evaluation.tasks import prevalence
from logfm.evaluation.tasks.prevalence import counted, mixtures, thinned
from tests.evaluation.anomaly.samples import EVERYTHING, PLAIN, Words, blocks, by, unlike

OPTIONS = {"heads": ("nearest", "logistic"), "train_percent": None}


def run(given=None, **options):
    return list(prevalence.run(Words(), given or blocks(100, 3), 0, OPTIONS | options))


def test_sets_have_one_size_and_the_share_that_was_asked_for():
    rows = run(percents=(0, 20, 50, 100))
    for name in ("nearest", "logistic"):
        attacks = {percent: by(rows, "attacks")[f"{name}, {percent} %"] for percent in (0, 20, 50, 100)}
        size = {row.count for row in rows if row.metric == "f1"}
        assert size == {13} and attacks == {0: 0, 20: 3, 50: 6, 100: 13}
    assert {row.metric for row in rows} == set(prevalence.META.metrics)


def test_a_detector_that_works_does_so_at_any_share():
    rows = run(percents=(0, 20, 50, 100))
    assert by(rows, "recall")["nearest, 100 %"] == by(rows, "accuracy")["logistic, 20 %"] == 1
    assert by(rows, "predicted_attack")["nearest, 0 %"] == 0
    assert {
        value for name, value in by(rows, "collapse").items() if "length" not in name and EVERYTHING not in name
    } == {0}


def test_detectors_without_an_encoder_keep_their_threshold_too():
    rows = run(percents=(0, 20, 100))
    names = {name.partition(", ")[0] for name in by(rows, "f1")}
    assert names == {"nearest", "logistic", "0 %", "20 %", "100 %", EVERYTHING} | PLAIN
    found = {metric: by(rows, metric)[f"{EVERYTHING}, 20 %"] for metric in ("f1", "precision", "recall", "collapse")}
    share = by(rows, "attacks")[f"{EVERYTHING}, 20 %"] / 13
    assert found == {"f1": pytest.approx(2 * share / (1 + share)), "precision": share, "recall": 1, "collapse": 1}
    notes = {row.condition: row.note for row in rows if row.metric == "f1"}
    assert notes[f"{CHOSEN}, 20 %"].startswith("chosen on validation: new-template; no encoder")
    assert by(rows, "f1")[f"{CHOSEN}, 20 %"] == by(rows, "f1")["baseline new-template, 20 %"]
    assert by(rows, "recall")["baseline new-template, 100 %"] == 1 and by(rows, "recall")["baseline length, 20 %"] == 0
    assert set(by(run(percents=(0, 20), baselines=False), "f1")) == {
        *("nearest, 0 %", "nearest, 20 %", "logistic, 0 %", "logistic, 20 %", "0 %", "20 %")
    }


def test_it_is_said_who_reads_whole_sequences():
    notes = {row.condition: row.note for row in run(percents=(20,), events=4) if row.metric == "f1"}
    assert "test sequences cut to 4 events" in notes["logistic, 20 %"] and "cut" not in notes["nearest, 20 %"]
    for name in ("nearest", "baseline ngram"):
        assert "reads whole sequences" in notes[f"{name}, 20 %"]
    assert not any("whole" in row.note or "cut" in row.note for row in run(percents=(20,), events=6))


def test_the_leading_detector_stands_beside_them():
    rows = [row for row in run(percents=(0, 20)) if row.metric == "f1"]
    values = {row.condition: (row.value, row.note) for row in rows}
    assert values[prevalence.META.lead][0] == values["nearest, 20 %"][0]
    assert values[prevalence.META.lead][1] == "chosen on validation: nearest"


def test_a_classifier_that_is_trained_whole(ours):
    options = {"heads": ("whole", "logistic"), "train_percent": None, "percents": (0, 20), "resamples": 100}
    rows = list(prevalence.run(ours, blocks(60, 3), 0, options | {"epochs": 2, "sequences": 12, "tokens": 64}))
    notes = {row.condition: row.note for row in rows if row.metric == "f1"}
    told = "trained on 4 attacks among 12; of a sequence 64 tokens at most"
    assert notes["whole, 20 %"].startswith(told)
    every = list(prevalence.run(ours, blocks(150, 3), 0, options | {"heads": ("whole",), "epochs": 40}))
    assert by(every, "recall")["whole, 20 %"] > 0.5 and by(every, "collapse")["whole, 20 %"] == 0
    assert by(every, "f1")[prevalence.META.lead] == by(every, "f1")["whole, 20 %"]
    # Words has no layers: the classifier is left out.
    assert not any(row.condition.startswith("whole") for row in run(heads=("whole", "nearest"), percents=(20,)))


def test_sets_without_copies_and_of_unseen_templates():
    given = blocks(100, 3)
    test = make_case(given, 0).test
    bad = test.labels > 0
    alone = np.concatenate((np.flatnonzero(bad)[:6], np.flatnonzero(~bad)[:9]))
    given = unlike(given, [test.rows[number] for number in alone])
    seen = np.zeros(len(given.texts), dtype=bool)
    seen[test.rows[alone[0]]] = True
    options = {"percents": (0, 1, 20, 50, 100), "size": 10, "train_percent": None}
    with pytest.raises(UserError, match="too few for these shares"):
        run(given, **options)
    rows = run(replace(given, seen=seen), **options | {"percents": (0, 20, 50, 100)})
    assert by(rows, "copies")[""] == pytest.approx(1 - 15 / len(test)) and "known_events" in {
        row.metric for row in rows
    }
    found = {row.condition: row for row in rows if row.metric == "f1"}
    left = found["nearest, 50 %, no copies"]
    assert left.count == 6 and left.judged and not found["nearest, 50 %"].judged
    assert by(rows, "attacks")["nearest, 50 %, no copies"] == 3
    # New words are new to the detector, so its answers differ on what is no copy.
    assert by(rows, "predicted_attack")["nearest, 0 %, no copies"] == 6 > by(rows, "predicted_attack")["nearest, 0 %"]
    assert {"nearest, 20 %, unseen templates", "20 %, unseen templates"} <= set(found)
    assert found["nearest, 20 %, unseen templates"].count == 10
    assert {"baseline ngram, 50 %, no copies", "baseline ngram, 20 %, unseen templates"} <= set(found)
    assert {row.metric for row in rows} == set(prevalence.META.metrics)


def test_a_part_of_the_test_has_the_shares_that_it_can_tell_apart():
    test = make_case(blocks(100, 3), 0).test
    config = prevalence.PrevalenceOptions(percents=(0, 1, 2, 20, 50), size=10)
    assert prevalence._told_apart(test, config) == (0, 20, 50)


def test_ratios_have_intervals_and_replicates():
    rows = [row for row in run(percents=(0, 50)) if row.metric == "f1" and row.condition == "nearest, 50 %"]
    assert rows[0].replicates.size and rows[0].low <= rows[0].value <= rows[0].high and rows[0].clusters == 6


def test_a_classifier_that_saw_few_attacks_in_noise_collapses():
    class Noise(Words):
        def encode(self, texts, fit_on=()):
            return np.random.default_rng(0).normal(size=(len(texts), 4)).astype(np.float32)

    rows = list(
        prevalence.run(
            Noise(), blocks(200, 3), 0, {"heads": ("logistic",), "train_percent": 2.0, "percents": (0, 20, 80)}
        )
    )
    (one,) = (row for row in rows if row.metric == "f1" and row.condition == "logistic, 20 %")
    attacks, size = by(rows, "attacks")["logistic, 20 %"], one.count
    assert by(rows, "collapse")["logistic, 20 %"] == 1
    assert by(rows, "accuracy")["logistic, 20 %"] == pytest.approx(1 - attacks / size) and attacks > 1
    assert by(rows, "true_positive")["logistic, 80 %"] == 0
    assert "trained on 2 attacks" in one.note


def test_attacks_of_a_small_share_are_in_the_larger_ones():
    test = make_case(blocks(100, 3), 0).test
    found = mixtures(test, (20, 60), 10, 0)
    bad = {percent: set(rows[test.labels[rows] > 0]) for percent, rows in found.items()}
    assert bad[20] < bad[60] and len(bad[60]) == 6
    assert all(len(set(rows)) == 10 for rows in found.values())
    with pytest.raises(UserError, match="too few for these shares: 0 %, 1 %"):
        mixtures(test, (0, 1), 10, 0)
    with pytest.raises(UserError, match="between 0 and 100"):
        mixtures(test, (120,), 10, 0)


def test_train_is_thinned_to_a_natural_share():
    train = make_case(blocks(200, 3), 0).train
    thin = thinned(train, 10.0, 0)
    normal = int((train.labels == 0).sum())
    assert int(thin.labels.sum()) == round(normal / 9) and len(thin) - thin.labels.sum() == normal
    assert thinned(train, 90.0, 0) is train and thinned(train, None, 0) is train


@pytest.mark.parametrize(
    ("alerts", "attacks", "expected"),
    [
        ([1, 0, 1, 0], [1, 1, 0, 0], {"precision": 0.5, "recall": 0.5, "f1": 0.5, "accuracy": 0.5, "collapse": 0}),
        ([0, 0, 0, 0], [1, 0, 0, 0], {"recall": 0, "f1": 0, "accuracy": 0.75, "collapse": 1, "predicted_normal": 4}),
        ([1, 1, 1, 1], [1, 1, 1, 1], {"precision": 1, "recall": 1, "f1": 1, "collapse": 0, "true_positive": 4}),
        ([0, 0], [0, 0], {"accuracy": 1, "collapse": 0, "predicted_attack": 0}),
        ([0, 0], [1, 1], {"accuracy": 0, "recall": 0, "collapse": 1}),
    ],
)
def test_the_columns_by_hand(alerts, attacks, expected):
    found = counted(np.array(alerts, dtype=bool), np.array(attacks, dtype=bool))
    assert {name: found[name] for name in expected} == expected


def test_ratios_without_a_meaning():
    found = counted(np.zeros(2, dtype=bool), np.zeros(2, dtype=bool))
    assert np.isnan(found["precision"]) and np.isnan(found["recall"]) and np.isnan(found["f1"])
