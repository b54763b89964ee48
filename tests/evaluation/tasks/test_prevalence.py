import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.tasks import prevalence
from logfm.evaluation.tasks.prevalence import counted, mixtures, thinned
from tests.evaluation.anomaly.samples import Words, blocks, by

OPTIONS = {"heads": ("nearest", "logistic"), "train_percent": None}


def run(**options):
    return list(prevalence.run(Words(), blocks(100, 3), 0, OPTIONS | options))


def test_sets_have_one_size_and_the_share_that_was_asked_for():
    rows = run(percents=(0, 20, 50, 100))
    for name in ("nearest", "logistic"):
        attacks = {percent: by(rows, "attacks")[f"{name}, {percent} %"] for percent in (0, 20, 50, 100)}
        size = {row.count for row in rows}
        assert size == {13} and attacks == {0: 0, 20: 3, 50: 6, 100: 13}
    assert {row.metric for row in rows} == set(prevalence.META.metrics)


def test_a_detector_that_works_does_so_at_any_share():
    rows = run(percents=(0, 20, 50, 100))
    assert by(rows, "recall")["nearest, 100 %"] == by(rows, "accuracy")["logistic, 20 %"] == 1
    assert by(rows, "predicted_attack")["nearest, 0 %"] == 0
    assert set(by(rows, "collapse").values()) == {0}


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
    attacks, size = by(rows, "attacks")["logistic, 20 %"], rows[0].count
    assert by(rows, "collapse")["logistic, 20 %"] == 1
    assert by(rows, "accuracy")["logistic, 20 %"] == pytest.approx(1 - attacks / size) and attacks > 1
    assert by(rows, "true_positive")["logistic, 80 %"] == 0
    assert "trained on 2 attacks" in rows[0].note


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
