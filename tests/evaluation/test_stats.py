import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.evaluation.stats import (
    Estimate,
    cluster_draws,
    effective_clusters,
    estimate,
    holm,
    mean_estimate,
    paired_bootstrap,
    paired_difference,
    ratio,
)


def test_draws_are_whole_clusters_with_replacement_from_the_seed() -> None:
    draws = cluster_draws(5, 400, seed=3)
    assert draws.shape == (400, 5)
    assert (draws.sum(axis=1) == 5).all()
    assert draws.max() > 1
    assert draws.mean() == pytest.approx(1.0)
    assert (draws == cluster_draws(5, 400, seed=3)).all()
    assert not (draws == cluster_draws(5, 400, seed=4)).all()


def test_the_interval_of_a_mean_is_that_of_the_cluster_means() -> None:
    # Two clusters of one value each: a draw gives 0, 1/2 or 1, the outer ones with probability 1/4.
    draws = cluster_draws(2, 4000, seed=0)
    found = mean_estimate([0.0] * 10 + [1.0] * 10, [0] * 10 + [1] * 10, draws, 0.95)
    assert found.value == 0.5
    assert (found.low, found.high) == (0.0, 1.0)
    values, counts = np.unique(found.replicates, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_copies_of_a_template_add_no_evidence() -> None:
    rng = np.random.default_rng(0)
    per_template = rng.normal(size=12)
    few = mean_estimate(per_template, np.arange(12), cluster_draws(12, 500, 1), 0.9)
    many = mean_estimate(np.repeat(per_template, 50), np.repeat(np.arange(12), 50), cluster_draws(12, 500, 1), 0.9)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_nothing_measured_gives_no_figure() -> None:
    empty = mean_estimate([], [], cluster_draws(0, 100, 0), 0.95)
    assert np.isnan([empty.value, empty.low, empty.high]).all()


def test_a_clear_difference_is_found_and_its_sign_follows_the_order() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(30), 4)
    ours = rng.normal(0.8, 0.05, size=120)
    theirs = ours - 0.1 + rng.normal(0, 0.02, size=120)
    forward = paired_bootstrap(ours, theirs, clusters, seed=5)
    backward = paired_bootstrap(theirs, ours, clusters, seed=5)
    assert forward.value == pytest.approx((ours - theirs).mean())
    assert forward.low > 0.05
    assert forward.p == pytest.approx(2 / 1001)
    assert backward.value == pytest.approx(-forward.value)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))


def test_equal_scores_are_a_tie_even_with_rounding_noise() -> None:
    scores = np.linspace(0, 1, 40)
    same = paired_bootstrap(scores, scores + 1e-15, [str(i % 8) for i in range(40)])
    assert same.p == 1.0


def test_one_outlying_template_is_no_evidence() -> None:
    ours, theirs = np.full(100, 0.5), np.full(100, 0.5)
    ours[:90] = 0.9
    chatty = paired_bootstrap(ours, theirs, [0] * 90 + list(range(1, 11)))
    assert chatty.value == pytest.approx(0.36)
    assert chatty.p > 0.05


def test_the_false_alarm_rate_is_near_the_level() -> None:
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(40), 3)
    alarms = 0
    for trial in range(200):
        shared = rng.normal(size=40)[clusters]
        ours, theirs = shared + rng.normal(size=120), shared + rng.normal(size=120)
        alarms += paired_bootstrap(ours, theirs, clusters, resamples=200, seed=trial).p <= 0.05
    assert 1 <= alarms <= 24


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_scores_that_do_not_pair_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="paired scores"):
        paired_bootstrap(ours, theirs, [0] * len(ours))


def test_replicates_without_a_value_are_left_out() -> None:
    blank = Estimate(0.5, np.nan, np.nan, np.full(10, np.nan))
    assert paired_difference(blank, blank, 0.95).p == 1.0
    assert ratio([1.0, 2.0], [2.0, 0.0]).tolist() == pytest.approx([0.5, np.nan], nan_ok=True)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_few_clusters_show_little() -> None:
    rng = np.random.default_rng(0)
    for clusters, least in ((2, 0.5), (4, 0.125)):
        values = np.repeat(rng.normal(size=clusters), 20)
        index = np.repeat(np.arange(clusters), 20)
        draws = cluster_draws(clusters, 500, seed=1)
        first = mean_estimate(values, index, draws, 0.95)
        better = mean_estimate(values + 1, index, draws, 0.95)
        assert paired_difference(better, first, 0.95).p == pytest.approx(least)
    one = mean_estimate(np.ones(5), np.zeros(5, np.int64), cluster_draws(1, 500, seed=1), 0.95)
    assert not one.replicates.size and np.isnan(one.low)


def test_a_mean_is_worth_no_more_clusters_than_the_part_that_varies_most() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(0, 0.2, 500), rng.normal(0, 0.01, 500)
    assert effective_clusters([(few, 3), (many, 400)]) == 3
    assert effective_clusters([(many, 400)] * 2) == 799
    assert effective_clusters([(np.zeros(5), 3), (np.zeros(5), 4)]) == 7
    assert effective_clusters([(few, 0), (many, 400)]) == 0
    assert effective_clusters([(few, 1), (many, 400)]) == 1


def test_false_alarms_stay_at_their_rate_with_few_clusters() -> None:
    rng = np.random.default_rng(0)
    for clusters in (3, 6):
        alarms = 0
        for number in range(100):
            index = np.repeat(np.arange(clusters), 10)
            noise = np.repeat(rng.normal(size=clusters), 10)
            draws = cluster_draws(clusters, 200, seed=number)
            both = (mean_estimate(column, index, draws, 0.95) for column in (noise * 0, noise))
            alarms += paired_difference(*both, 0.95).p < 0.05
        assert alarms <= 12


def test_the_interval_of_few_clusters_is_wider_and_a_share_stays_one() -> None:
    replicates = np.random.default_rng(0).uniform(0.7, 0.99, 1000)
    narrow, wide = estimate(0.9, replicates, 0.95), estimate(0.9, replicates, 0.95, 4)
    assert wide.low < narrow.low and narrow.high < wide.high == 1.0
    many = estimate(0.9, replicates, 0.95, 1000)
    assert (many.low, many.high) == pytest.approx((narrow.low, narrow.high), abs=1e-3)


def test_an_empty_draw_does_not_take_a_shares_bounds_away() -> None:
    replicates = np.append(np.random.default_rng(0).uniform(0.2, 1.0, 500), np.nan)
    found = estimate(0.667, replicates, 0.95, 3)
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_interval_of_a_difference_says_what_its_p_says() -> None:
    draws = cluster_draws(3, 2000, seed=0)
    theirs = mean_estimate([0.0, 0.0, 0.0], [0, 1, 2], draws, 0.95)
    ours = mean_estimate([0.1, 0.3, 0.5], [0, 1, 2], draws, 0.95)
    found = paired_difference(ours, theirs, 0.95)
    assert np.quantile(ours.replicates - theirs.replicates, 0.025) >= 0.1
    assert found.p > 0.05 and found.low < 0 < found.value < found.high <= 1
    # Against nothing, the difference is the figure itself, and so is its width.
    assert found.high == pytest.approx(ours.high)
    unknown = [Estimate(one.value, one.low, one.high, one.replicates) for one in (ours, theirs)]
    assert paired_difference(*unknown, 0.95).low == pytest.approx(0.1)
