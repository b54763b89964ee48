from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import eval_tables
from logfm.errors import UserError
from logfm.evaluation.suite.aggregate import scores
from logfm.evaluation.suite.results import Row
from logfm.evaluation.tasks import leaky
from tests.evaluation.anomaly.samples import EVERYTHING, Words, blocks, by, data


class Blind(Words):
    """An encoder that tells blocks apart, and nothing of what is wrong with one."""

    def encode(self, texts, fit_on=()):
        found = np.zeros((len(texts), 16), dtype=np.float32)
        for row, text in enumerate(texts):
            block = int(text.split()[1])
            found[row] = np.random.default_rng(block).normal(size=16)
        return found


def run(contestant, given=None, **options):
    options = {"resamples": 100, "window": 3} | options
    return list(leaky.run(contestant, given or blocks(150, 3), 0, options))


def test_a_leaky_split_makes_up_what_an_honest_one_does_not_show():
    rows = run(Blind())
    f1, shared = by(rows, "f1"), by(rows, "shared")
    assert f1["leaky, nearest neighbour"] > 0.85
    assert f1["honest, nearest neighbour"] < 0.6 and f1["honest, in order, nearest neighbour"] < 0.6
    assert shared["honest"] == shared["honest, in order"] == 0 and shared["leaky"] > 0.5
    assert by(rows, "inflation")["leaky, nearest neighbour"] == (
        f1["leaky, nearest neighbour"] - f1["honest, nearest neighbour"]
    )
    assert {row.metric for row in rows} <= set(leaky.META.metrics)
    assert all("no result" in row.note for row in rows if row.condition.startswith("leaky") and row.metric == "f1")


def test_both_splits_have_the_f1_of_each_head_that_is_named():
    rows = run(Blind())
    f1 = {row.condition: row for row in rows if row.metric == "f1"}
    for head, behind in ((leaky.LEADING, ""), (leaky.NEIGHBOUR, f", {leaky.NEIGHBOUR}")):
        both = [f1[f"{split}{behind}"] for split in ("leaky", "honest")]
        assert all(head in row.note and len(row.replicates) for row in both)
        told = next(row for row in rows if row.metric == "inflation" and row.condition == f"leaky{behind}")
        assert told.value == both[0].value - both[1].value
        assert told.note.startswith(f"{head}: F1 {both[0].value:.3f} under the leaky split, {both[1].value:.3f}")


def test_the_table_of_results_has_both_splits():
    measured = [one for one in run(Blind()) if one.metric in ("f1", "pr_auc")]
    rows = [
        Row("s", "leaky", "d", one.metric, "blind", value=one.value, count=one.count, condition=one.condition)
        for one in measured
    ]
    result = SimpleNamespace(rows=rows, scores=scores(rows), tasks={"leaky": leaky.META})
    found = {row[4:6]: row[1] for row in eval_tables.rows(result)}
    told = {(f"{split}{head}", "blind") for split in ("honest", "leaky") for head in ("", f", {leaky.NEIGHBOUR}")}
    assert told | {("leaky", "alerts on everything (no encoder)")} <= set(found) and set(found.values()) == {"f1"}


def test_who_alerts_on_everything_stands_beside_an_honest_split():
    rows = run(Words())
    for split in ("honest", "leaky"):
        name = f"{EVERYTHING}, {split}"
        share = by(rows, "prevalence")[name]
        assert by(rows, "f1")[name] == pytest.approx(2 * share / (1 + share)) and by(rows, "pr_auc")[name] == share
        assert by(rows, "prevalence")[split] == share


def test_an_encoder_that_sees_what_is_wrong_needs_no_leak():
    f1 = by(run(Words()), "f1")
    assert f1["honest"] > 0.8 and abs(f1["leaky"] - f1["honest"]) < 0.1


def test_a_cap_takes_whole_groups():
    rows = run(Words(), windows=120)
    counts = {row.condition: row.count for row in rows if row.metric == "shared"}
    assert 0 < sum(counts.values()) / 3 <= 0.45 * 120


def test_it_needs_groups():
    given = blocks()
    with pytest.raises(UserError, match="needs groups"):
        run(Words(), data(given.texts, given.labels))


def test_an_order_that_leaves_a_part_without_anomalies_is_left_out():
    given = blocks(90, 3)
    given.labels[240:] = 0
    conditions = {row.condition for row in run(Words(), given)}
    assert "honest" in conditions and not any("in order" in name for name in conditions)
