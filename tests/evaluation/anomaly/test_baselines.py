from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from logfm.evaluation.anomaly.baselines import (
    NEW,
    baselines,
    count_residuals,
    count_vectors,
    given_keys,
    nearest_counts,
    train_keys,
)
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.windows import Columns, by_group
from tests.evaluation.anomaly.samples import blocks, data

STEPS = ("connection opened by client", "packet received from peer", "checksum verified fine", "session closed now")


def planted(change):
    """120 groups that run through the same steps; every fourth is changed."""
    texts, labels, groups = [], [], []
    for group in range(120):
        lines = change(list(STEPS)) if group % 4 == 3 else list(STEPS)
        texts += lines
        labels += [int(group % 4 == 3)] * len(lines)
        groups += [f"g{group}"] * len(lines)
    return data(texts, labels, groups=groups)


CHANGES = {
    "new": lambda steps: [*steps[:3], "kernel panic not syncing"],
    "long": lambda steps: [*steps[:2], *steps[1:2] * 4, *steps[2:]],
    "swapped": lambda steps: [steps[0], steps[2], steps[1], steps[3]],
}
FOUND_BY = {
    "new": {"new-template", "ngram", "count-nearest", "count-pca"},
    "long": {"length", "ngram", "count-nearest", "count-pca"},
    "swapped": {"ngram"},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_baseline_finds_what_it_is_for_and_nothing_else(kind):
    given = planted(CHANGES[kind])
    case = make_case(given, 0)
    found = {one.name: roc_auc_score(case.test.labels, one.test) for one in baselines(case, given)}
    assert set(found) == {"new-template", "length", "ngram", "count-nearest", "count-pca"}
    for name, area in found.items():
        assert area == (1.0 if name in FOUND_BY[kind] else 0.5), name


def test_templates_come_from_train_alone():
    texts = ["user alice logged in", "user bob logged in", "user carol logged in", "disk sda1 broke down badly"]
    keys = train_keys(texts, np.array([0, 1]))
    assert keys[0] == keys[1] == keys[2] and keys[3] == NEW
    assert NEW not in train_keys(texts, np.array([0, 1, 3]))


def test_templates_of_the_data_are_taken_but_not_those_of_a_drain_over_all_of_it():
    given = planted(CHANGES["new"])
    same = replace(given, templates=["one"] * len(given.texts))
    case = make_case(given, 0)
    areas = {one.name: roc_auc_score(case.test.labels, one.test) for one in baselines(case, same)}
    assert areas["new-template"] == 0.5
    mined = replace(same, spec=same.spec.model_copy(update={"options": {"templates": "drain"}}))
    areas = {one.name: roc_auc_score(case.test.labels, one.test) for one in baselines(case, mined)}
    assert areas["new-template"] == 1.0
    assert given_keys(["a", "b", "a", "c"], np.array([1, 2])).tolist() == [1, 0, 1, NEW]


def test_json_goes_by_its_kind():
    texts = ['{"Channel":"Security","EventID":1}', '{"Channel":"Security","EventID":2}', "a line"]
    keys = train_keys(texts, np.array([0]))
    assert keys[0] not in (NEW, 0) and keys[1] == keys[2] == NEW


def test_what_validation_and_test_hold_changes_no_baseline():
    first, other = blocks(seed=1), blocks(seed=1)
    case = make_case(first, 0)
    for row in case.test.events[: len(case.test.events) // 2]:
        other.texts[row] = "something never seen before at all"
    for one, two in zip(baselines(case, first), baselines(make_case(other, 0), other), strict=True):
        assert np.array_equal(one.validation, two.validation)


def test_count_vectors_and_distances_by_hand():
    columns = Columns(np.zeros(7, dtype=np.int8), groups=list("aaabbcc"))
    keys = np.array([1, 1, 2, 1, 2, 2, NEW])
    known = by_group(np.arange(5), columns)
    judged = by_group(np.array([5, 6]), columns)
    first, second = count_vectors((known, judged), keys)
    assert first.tolist() == [[2, 1, 0], [1, 1, 0]] and second.tolist() == [[0, 1, 1]]
    assert nearest_counts(first, second).tolist() == [0.5]
    assert nearest_counts(first, first).tolist() == [0, 0]


def test_residuals_of_normal_sequences_alike_are_zero():
    normal = np.tile([2.0, 1.0, 0.0], (9, 1))
    assert count_residuals(normal, [normal])[0].tolist() == [0] * 9
    assert count_residuals(normal, [np.array([[2.0, 1.0, 3.0]])])[0][0] > 0
    rng = np.random.default_rng(0)
    varied = rng.integers(0, 5, (50, 2)) @ rng.integers(0, 3, (2, 6)).astype(float)
    assert set(count_residuals(varied, [varied])[0]) == {0}
