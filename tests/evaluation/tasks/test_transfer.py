import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.tasks import transfer
from tests.evaluation.anomaly.samples import Tfidf, Words, blocks, by, data

OPTIONS = {"resamples": 100}


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
    areas = by(rows, "pr_auc")
    assert set(areas) == {""} | {
        f"{head}, {pair}"
        for head in ("nearest", "logistic")
        for pair in ("within first", "first>second", "within second", "second>first")
    }
    across = [area for name, area in areas.items() if ">" in name]
    assert areas[""] == pytest.approx(np.mean(across)) and areas["nearest, within first"] == 1
    assert rows[-1].condition == "" and len(rows[-1].replicates) == 100


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
    assert set(by(rows, "pr_auc")) == {"", "nearest, period 1>2", "nearest, period 1>3"}
    assert by(rows, "pr_auc")["nearest, period 1>3"] == 1
    late = blocks(120, 4)
    late.texts[480:] = [f"upgraded {text}" for text in late.texts[480:]]
    drifted = by(transfer.run(Words(), late, 0, OPTIONS | {"heads": ("nearest",), "periods": 3}), "fpr@1%fpr")
    assert drifted["nearest, period 1>2"] == 0 and drifted["nearest, period 1>3"] == 1


def test_each_source_trains_before_one_trains_again():
    given = two()
    given.sources[:] = [f"s{int(group.split('g')[1]) % 3}" for group in given.groups]
    rows = list(transfer.run(Words(), given, 0, OPTIONS | {"most_pairs": 3, "heads": ("nearest",)}))
    pairs = [name for name in by(rows, "pr_auc") if ">" in name]
    assert pairs == ["nearest, s0>s1", "nearest, s1>s2", "nearest, s2>s0"]


def test_what_cannot_be_transferred():
    with pytest.raises(UserError, match="no such source"):
        list(transfer.run(Words(), two(), 0, {"pairs": ("first>third",)}))
    given = blocks()
    with pytest.raises(UserError, match="two sources, or times"):
        list(transfer.run(Words(), data(given.texts, given.labels, groups=given.groups), 0, {}))
