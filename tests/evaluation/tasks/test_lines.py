"""Similarity and search: known vectors give known scores, and nothing evaluated is fitted on."""

from dataclasses import replace

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.contestants import Random, Tfidf
from logfm.evaluation.tasks import search, similarity
from tests.evaluation.tasks.conftest import Known, chance, make_data

TASKS = [search, similarity]


def test_similarity_of_an_encoder_that_knows(scores, lines, knows, guesses):
    best = scores(similarity, knows, lines)
    assert best[""]["pair_auc"].value == 1.0 and best[""]["diff"].value == 1.0 and best[""]["nmean"].value == 0.0
    assert best["no copies"]["pair_auc"].value == 1.0
    assert 0.35 < scores(similarity, guesses, lines)[""]["pair_auc"].value < 0.65
    assert len(best[""]["pair_auc"].replicates) == 1000


def test_search_of_an_encoder_that_knows(scores, lines, knows, guesses):
    best = scores(search, knows, lines)
    assert best[""]["map"].value == best[""]["mrr"].value == best[""]["macro_map"].value == 1.0
    assert best[""]["copies"].value > 0.5 and best[""]["map"].count == 48
    assert scores(search, guesses, lines)[""]["map"].value < 0.6
    assert scores(search, Random("random"), lines)[""]["map"].value < 0.6


def test_no_copies_leaves_lines_that_differ_in_more_than_values(scores, lines, knows):
    found = scores(search, knows, lines)
    assert 4 <= found["no copies"]["map"].count <= 12
    last = knows.seen[-1]
    assert len({text.rsplit(".", 1)[0] for text in last}) == len(last) == 24


@pytest.mark.parametrize("task", TASKS)
def test_what_is_scored_is_not_fitted_on(task, scores, lines, knows):
    scores(task, knows, lines)
    queries = set(knows.seen[0][:48])
    assert knows.fitted[0] and not queries & set(knows.fitted[0])
    assert scores(task, Tfidf("TF-IDF", "letters"), lines)


@pytest.mark.parametrize("task", TASKS)
def test_equal_lines_count_once(task, scores, knows):
    texts = [f"saw {kind} {n % 5}" for n in range(40) for kind in ("alpha", "beta")]
    data = make_data(texts=texts, templates=[text.split()[1] for text in texts])
    scores(task, knows, data)
    assert all(len(set(seen)) == len(seen) <= 10 for seen in knows.seen)


@pytest.mark.parametrize("task", TASKS)
def test_draws_depend_on_the_seed_and_not_on_the_contestant(task, scores, lines):
    one, other = Known("a", chance), Known("b", chance)
    first, second = scores(task, one, lines, 1), scores(task, other, lines, 1)
    assert one.seen == other.seen and one.fitted == other.fitted
    main = task.META.main_score
    assert np.array_equal(first[""][main].replicates, second[""][main].replicates, equal_nan=True)
    assert np.nanstd(first[""][main].replicates) > 0
    scores(task, other, lines, 2)
    assert other.seen[0] != other.seen[2]


@pytest.mark.parametrize("task", TASKS)
def test_data_that_cannot_be_scored(task, scores, knows):
    with pytest.raises(UserError, match="needs templates"):
        scores(task, knows, make_data(texts=["alpha", "beta"]))
    with pytest.raises(UserError):
        scores(task, knows, make_data(texts=["alpha 1", "alpha 2", "alpha 3"], templates=["a", "b", "c"]))


@pytest.mark.parametrize("task", TASKS)
def test_intervals_say_how_many_templates_they_rest_on(task, scores, lines, knows):
    main = task.META.main_score
    few = scores(task, knows, lines)
    assert 1 < few["no copies"][main].clusters <= few[""][main].clusters <= len(set(lines.templates))
    one = replace(lines, templates=["same"] * (len(lines.texts) - 2) + ["other"] * 2)
    alone = scores(task, knows, one)[""][main]
    assert alone.clusters <= 2 and (alone.clusters == 2 or not alone.replicates.size)


def test_caps(scores, lines, knows):
    found = scores(search, knows, lines, queries=7)
    assert found[""]["copies"].count == 7 and len(knows.seen[0]) == 7 + 48
    knows.seen.clear()
    scores(similarity, knows, lines, lines=20, pairs=30)
    assert len(knows.seen[0]) == 10
