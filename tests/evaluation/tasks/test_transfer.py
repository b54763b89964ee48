import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly import heads
from logfm.evaluation.anomaly.plain import CHOSEN
from logfm.evaluation.tasks import transfer
from tests.evaluation.anomaly.samples import PLAIN, Tfidf, Words, blocks, by, data, unlike

OPTIONS = {"resamples": 100}


PAIRS = ("within first", "first>second", "within second", "second>first")


def of_encoders(areas):
    return {name: area for name, area in areas.items() if not name.startswith("baseline ")}


def two(words="broken", options=None):
    """Two sources of blocks; what makes a block of the second abnormal is told in other words."""
    one = blocks(60, 4)
    texts = one.texts + [text.replace("exception", words) for text in one.texts]
    return data(
        texts,
        [*one.labels, *one.labels],
        groups=one.groups + [f"other-{group}" for group in one.groups],
        sources=["first"] * 360 + ["second"] * 360,
        options=options or {},
    )


def test_pairs_and_the_training_source_itself():
    rows = list(transfer.run(Words(), two(), 0, OPTIONS))
    areas = of_encoders(by(rows, "pr_auc"))
    assert set(areas) == {""} | {f"{head}{pair}" for head in ("", "nearest, ", "logistic, ") for pair in PAIRS}
    assert (
        areas[""] == pytest.approx((areas["first>second"] + areas["second>first"]) / 2)
        and areas["nearest, within first"] == 1
    )
    (mean,) = (row for row in rows if row.condition == "")
    assert len(mean.replicates) == 100 and mean.note == "the mean of 2 pairs"
    plain = {row.condition: row for row in rows if row.metric == "pr_auc"}
    assert mean.count == 120 == plain["baseline ngram"].count
    for pair in PAIRS:
        head = plain[pair].note.removeprefix("chosen on validation: ").partition(";")[0]
        assert areas[pair] == areas[f"{head}, {pair}"] and head in ("nearest", "logistic")
    assert {row.metric for row in rows} <= set(transfer.META.metrics)


def test_detectors_without_an_encoder_cross_over_too():
    areas = by(transfer.run(Words(), two(), 0, OPTIONS | {"heads": ("nearest",)}), "pr_auc")
    assert {name for name in areas if name.startswith("baseline ")} == PLAIN | {
        f"{name}, {pair}" for name in PLAIN for pair in PAIRS
    }
    assert areas[f"{CHOSEN}, first>second"] == areas["baseline new-template, first>second"]
    for name in PLAIN:
        assert areas[name] == pytest.approx((areas[f"{name}, first>second"] + areas[f"{name}, second>first"]) / 2)
    assert areas["baseline new-template"] == 1 and areas["baseline length"] < 0.5
    # A pair that the encoder's heads were not measured on has no part in a mean that stands beside theirs.
    one = by(transfer.run(Words(), two(), 0, OPTIONS | {"pairs": ("first>second",)}), "pr_auc")
    assert one["baseline ngram"] == one["baseline ngram, first>second"]


def test_copies_are_counted_for_each_pair_and_left_out():
    given = two()
    groups = {f"other-g{number}" for number in range(0, 40, 4)}
    given = unlike(given, [[row for row, group in enumerate(given.groups) if group in groups]])
    rows = list(transfer.run(Words(), given, 0, OPTIONS | {"heads": ("nearest",)}))
    copies = by(rows, "copies")
    # Of the second source 15 blocks are abnormal in other words, and 10 normal ones have words of their own.
    assert copies["first>second"] == pytest.approx(35 / 60) and copies["second>first"] == pytest.approx(45 / 60)
    assert (
        set(copies)
        == set(by(rows, "known_events"))
        == {"within first", "within second", "first>second", "second>first"}
    )
    left = {row.condition: row for row in rows if row.metric == "pr_auc" and row.condition.endswith("no copies")}
    assert left["nearest, first>second, no copies"].count == 25 and "nearest, second>first, no copies" not in left
    assert left["no copies"].value == left["nearest, first>second, no copies"].value and left["no copies"].judged
    assert left["no copies"].note == "the mean of 1 of 2 pairs"
    assert "baseline new-template, no copies" in left


def test_a_head_that_saw_the_test_has_no_part_in_the_mean(monkeypatch):
    def conad(case, vectors, seed, options):
        return [heads.Judged("mean vector", *(-part.labels.astype(float) for part in (case.validation, case.test)))]

    monkeypatch.setattr(heads, "_conad", conad)
    options = OPTIONS | {"pairs": ("first>second",), "heads": ("nearest", "conad"), "baselines": False}
    areas = by(transfer.run(Words(), two(), 0, options), "pr_auc")
    assert areas["conad, first>second"] < areas["nearest, first>second"] == areas[""]


def test_the_head_of_a_pair_is_the_one_that_validation_chose(monkeypatch):
    """One head is right about what was held back and wrong about the test, another the other way round."""

    def judged(head, case, *more):
        truth = [part.labels.astype(float) for part in (case.validation, case.test)]
        return (
            heads.Judged("max", truth[0], -truth[1]) if head == "iforest" else heads.Judged("max", -truth[0], truth[1])
        )

    monkeypatch.setattr(transfer, "_judged", judged)
    options = OPTIONS | {"heads": ("nearest", "iforest"), "baselines": False}
    areas = by(transfer.run(Words(), two(), 0, options), "pr_auc")
    assert areas["first>second"] == areas["iforest, first>second"] < areas["nearest, first>second"] == 1
    assert areas[""] == areas["iforest, first>second"]


def test_a_head_that_some_pairs_lack_makes_no_pair_weigh_less(monkeypatch):
    real = transfer._judged

    def judged(head, case, *more):
        first = case.train.clusters[0].startswith("g")
        return None if head == "logistic" and first else real(head, case, *more)

    monkeypatch.setattr(transfer, "_judged", judged)
    rows = {row.condition: row for row in transfer.run(Words(), two(), 0, OPTIONS) if row.metric == "pr_auc"}
    assert "logistic, first>second" not in rows and "logistic, second>first" in rows
    assert rows[""].value == pytest.approx((rows["first>second"].value + rows["second>first"].value) / 2)
    assert rows[""].count == rows["baseline ngram"].count == 120


class Noise(Words):
    def encode(self, texts, fit_on=()):
        return np.random.default_rng(0).normal(size=(len(texts), 4)).astype(np.float32)


def test_pairs_with_one_test_share_its_draws():
    given = two()
    given.sources[:] = [f"s{int(group.split('g')[1]) % 3}" for group in given.groups]
    options = OPTIONS | {"pairs": ("s0>s1", "s2>s1", "s0>s2"), "heads": ("nearest",), "baselines": False}
    rows = list(transfer.run(Noise(), given, 0, options))
    found = {row.condition: row.replicates for row in rows if row.metric == "pr_auc"}
    wanted = (found["s0>s1"] + found["s2>s1"] + np.roll(found["s0>s2"], 1)) / 3
    assert found["s0>s1"].std() > 0 and np.allclose(found[""], wanted, equal_nan=True)


def test_nothing_of_the_test_source_is_fitted():
    contestant = Tfidf()
    given = two()
    rows = list(transfer.run(contestant, given, 0, OPTIONS | {"pairs": ("first>second",)}))
    assert set(contestant.fitted) <= set(given.texts[:360])
    changed = data(
        given.texts, given.labels, groups=given.groups, sources=given.sources, options=dict(given.spec.options)
    )
    changed.labels[360:] = np.roll(changed.labels[360:], 6)
    again = list(transfer.run(Tfidf(), changed, 0, OPTIONS | {"pairs": ("first>second",)}))
    assert by(rows, "fpr@1%fpr")["nearest, within first"] == by(again, "fpr@1%fpr")["nearest, within first"]
    assert by(rows, "pr_auc")["nearest, first>second"] > by(again, "pr_auc")["nearest, first>second"]


def test_drift_over_periods():
    given = blocks(120, 4)
    rows = list(transfer.run(Words(), given, 0, OPTIONS | {"heads": ("nearest",), "periods": 3}))
    assert set(of_encoders(by(rows, "pr_auc"))) == {
        *("", "period 1>2", "nearest, period 1>2", "period 1>3", "nearest, period 1>3")
    }
    assert "baseline length, period 1>2" in by(rows, "pr_auc")
    assert by(rows, "pr_auc")["nearest, period 1>3"] == 1
    late = blocks(120, 4)
    late.texts[480:] = [f"upgraded {text}" for text in late.texts[480:]]
    drifted = by(transfer.run(Words(), late, 0, OPTIONS | {"heads": ("nearest",), "periods": 3}), "fpr@1%fpr")
    assert drifted["nearest, period 1>2"] == 0 and drifted["nearest, period 1>3"] == 1


def test_each_source_trains_before_one_trains_again():
    given = two()
    given.sources[:] = [f"s{int(group.split('g')[1]) % 3}" for group in given.groups]
    rows = list(transfer.run(Words(), given, 0, OPTIONS | {"most_pairs": 3, "heads": ("nearest",)}))
    pairs = [name for name in by(rows, "pr_auc") if name.startswith("nearest, s")]
    assert pairs == ["nearest, s0>s1", "nearest, s1>s2", "nearest, s2>s0"]


def test_what_cannot_be_transferred():
    with pytest.raises(UserError, match="no such source"):
        list(transfer.run(Words(), two(), 0, {"pairs": ("first>third",)}))
    given = blocks()
    with pytest.raises(UserError, match="two sources, or times"):
        list(transfer.run(Words(), data(given.texts, given.labels, groups=given.groups), 0, {}))
