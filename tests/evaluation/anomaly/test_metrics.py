import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.errors import UserError
from logfm.evaluation.anomaly.metrics import (
    METRICS,
    average_precision,
    measure,
    thresholds,
    weighted_average_precision,
)

FEW = StatisticsConfig(resamples=100)


def measured(scores, labels, clusters=None, limits=None, **more):
    scores, labels = np.array(scores, dtype=np.float64), np.array(labels, dtype=np.int8)
    limits = limits or thresholds(scores, labels)
    clusters = clusters or [str(row) for row in range(len(scores))]
    return {one.metric: one for one in measure(scores, labels, clusters, limits, statistics=FEW, **more)}


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000))
def test_weighted_average_precision_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, 40).astype(float)  # ties
    labels = np.append(rng.integers(0, 2, 39), 1).astype(np.int8)
    weights = rng.integers(0, 4, (3, 40)).astype(float)
    weights[:, -1] += 1
    expected = [average_precision_score(labels, scores, sample_weight=row) for row in weights]
    assert np.allclose(weighted_average_precision(scores, labels, weights), expected)


def test_figures_by_hand():
    found = measured([9, 8, 7, 3, 2, 1], [1, 0, 1, 0, 0, 0])
    assert found["pr_auc"].value == average_precision_score([1, 0, 1, 0, 0, 0], [9, 8, 7, 3, 2, 1])
    assert found["roc_auc"].value == roc_auc_score([1, 0, 1, 0, 0, 0], [9, 8, 7, 3, 2, 1])
    assert found["f1"].value == found["oracle_f1"].value == 0.8
    assert found["precision"].value == 2 / 3 and found["recall"].value == 1
    assert found["prevalence"].value == 2 / 6
    assert found["accuracy"].value == 5 / 6
    assert found["accuracy"].hits.tolist() == [True, False, True, True, True, True]
    assert set(found) <= set(METRICS)


def test_a_threshold_of_validation_is_kept_on_the_test():
    limits = thresholds(np.array([1.0, 2.0, 8.0, 9.0]), np.array([0, 0, 1, 1], dtype=np.int8))
    assert limits.f1 == 5.0 and limits.at_rate[0.01] == 2.0
    found = measured([4.0, 4.5, 6.0, 7.0], [1, 0, 0, 1], limits=limits)
    assert found["f1"].value == f1_score([1, 0, 0, 1], [0, 0, 1, 1])
    assert found["oracle_f1"].value == pytest.approx(2 / 3)
    assert found["recall@1%fpr"].value == 1 and found["fpr@1%fpr"].value == 1


@settings(deadline=None)
@given(st.integers(0, 500), st.sampled_from([0.001, 0.01]))
def test_a_rate_is_never_exceeded_on_validation(seed, rate):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 50, 300).astype(float)
    labels = (rng.random(300) < 0.2).astype(np.int8)
    limit = thresholds(scores, labels).at_rate[rate]
    normal = scores[labels == 0]
    assert (normal > limit).mean() <= rate
    lower = normal[normal < limit].max()
    assert (normal > lower).mean() > rate


def test_the_best_threshold_of_validation_is_the_best():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 20, 80).astype(float), (rng.random(80) < 0.3).astype(np.int8)
    chosen = f1_score(labels, scores > thresholds(scores, labels).f1)
    assert chosen == max(f1_score(labels, scores > limit) for limit in np.arange(-1, 20))


def test_validation_without_an_anomaly_or_without_anything_normal():
    quiet = thresholds(np.arange(1000.0), np.zeros(1000, dtype=np.int8))
    assert quiet.f1 == quiet.at_rate[0.01] == 989 and "no anomaly in validation" in quiet.note
    loud = thresholds(np.arange(5.0), np.ones(5, dtype=np.int8))
    assert np.isnan(loud.f1) and "no normal sequence" in loud.note
    found = measured([1.0, 2.0], [0, 1], limits=loud)
    assert np.isnan(found["f1"].value) and np.isnan(found["recall@1%fpr"].value) and found["pr_auc"].value == 1


def test_few_normal_ones_are_said():
    assert "4 normal in validation" in thresholds(np.arange(5.0), np.array([0, 0, 0, 0, 1], dtype=np.int8)).note


def test_alerts_a_day():
    assert measured([9, 8, 1, 1], [1, 1, 0, 0], days=4.0)["alerts_a_day"].value == 0.5
    assert "alerts_a_day" not in measured([9, 8, 1, 1], [1, 1, 0, 0])


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(40) % 2, 10)
    scores = labels + rng.normal(0, 1.5, 40).repeat(10)
    apart = measured(scores, labels)["pr_auc"]
    together = measured(scores, labels, clusters=[str(row // 10) for row in range(400)])["pr_auc"]
    assert apart.value == together.value
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert len(apart.replicates) == 100


def test_figures_rest_on_the_clusters_of_the_rarer_class():
    one = measured([1, 2, 3, 4], [0, 0, 1, 1], clusters=list("aabb"))["pr_auc"]
    assert one.clusters == 1 and not one.replicates.size
    assert measured([1, 2, 3, 4, 5], [0, 0, 0, 1, 1], clusters=list("abcde"))["pr_auc"].clusters == 2


@pytest.mark.parametrize(("labels", "said"), [([0, 0], "no anomaly"), ([1, 1], "nothing but anomalies")])
def test_one_class_only(labels, said):
    limits = thresholds(np.array([1.0, 2.0]), np.array([0, 1], dtype=np.int8))
    with pytest.raises(UserError, match=said):
        measured([1, 2], labels, limits=limits)
    assert np.isnan(average_precision(np.array([1.0]), np.array([0], dtype=np.int8)))
