import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from logfm.configs.schema.anomaly import AnomalyOptions
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.heads import (
    best,
    dense,
    event_table,
    event_vectors,
    fitting,
    judge,
    mean_vectors,
    transductive,
)
from logfm.evaluation.anomaly.windows import Columns, by_group
from tests.evaluation.anomaly.samples import IN_TIME, SECRET, Tfidf, Words, blocks

OPTIONS = AnomalyOptions(logbert_steps=30)


def scored(name, contestant=None, given=None, options=OPTIONS):
    given = given or blocks()
    contestant = contestant or Words()
    case = make_case(given, 0)
    vectors = event_vectors(contestant, given, case)
    return case, judge(name, case, vectors, given, contestant, 0, options)


# torch_geometric imports what torch calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    ["nearest", "iforest", "ecod", "pca", pytest.param("conad", marks=pytest.mark.slow), "logbert", "knn:normal"],
)
def test_planted_anomalies_stand_out(name):
    case, judged = scored(name)
    for one in judged:
        assert roc_auc_score(case.test.labels, one.test) > 0.9, one.rule
        assert len(one.validation) == len(case.validation) and np.isfinite(one.test).all()


def test_rules_of_a_sequence():
    case, (highest, mean) = scored("nearest")
    assert (highest.rule, mean.rule) == ("max", "top3")
    bad = case.test.labels > 0
    # Two of six events are abnormal, so a mean of three is lower than the highest.
    assert (mean.test[bad] < highest.test[bad]).all()
    assert best([mean, highest], case.validation.labels).rule == "top3"
    assert best([mean, highest], np.zeros(len(case.validation), dtype=np.int8)).rule == "top3"


def test_what_is_fitted_on_normal_sequences_does_not_see_the_others():
    given = blocks()
    _, alone = scored("nearest", given=given)
    _, polluted = scored("nearest:all", given=given)
    labels = make_case(given, 0).test.labels
    assert roc_auc_score(labels, alone[0].test) == 1.0
    assert roc_auc_score(labels, polluted[0].test) == 0.5


@pytest.mark.parametrize("encoder", [Words, Tfidf])
@pytest.mark.parametrize("name", ["nearest", "iforest", "pca", "knn:normal"])
def test_test_labels_and_test_events_change_no_score_of_another(name, encoder):
    given, turned = blocks(options=IN_TIME), blocks(options=IN_TIME)
    test = make_case(given, 0).test
    turned.labels[test.events] = 1 - turned.labels[test.events]
    for row in test.rows[0]:
        turned.texts[row] = "exception exception exception, nothing like it was ever seen before"
    case, judged = scored(name, encoder(), given)
    changed, again = scored(name, encoder(), turned)
    assert not (changed.test.labels == case.test.labels).any()
    for before, after in zip(judged, again, strict=True):
        assert before.test[0] != after.test[0]
        assert np.allclose(before.test[1:], after.test[1:], rtol=1e-6, atol=1e-9)
        assert np.allclose(before.validation, after.validation, rtol=1e-6, atol=1e-9)


def test_heads_whose_scores_depend_on_what_else_is_judged_are_known():
    given, turned = blocks(options=IN_TIME), blocks(options=IN_TIME)
    for row in make_case(given, 0).test.rows[0]:
        turned.texts[row] = "exception exception exception, nothing like it was ever seen before"
    for name in ("ecod", "copod:normal"):
        _, before = scored(name, given=given)
        _, after = scored(name, given=turned)
        assert not np.allclose(before[0].test[1:], after[0].test[1:])
        assert transductive(name) and "transductive" in before[0].note
    assert transductive("conad") and not any(map(transductive, ("nearest", "iforest:normal", "lanobert", "logbert")))


def test_encoders_are_fitted_on_train_and_never_see_a_label():
    given, contestant = blocks(), Tfidf()
    case = make_case(given, 0)
    found = event_vectors(contestant, given, case)
    assert set(contestant.fitted) == {given.texts[row] for row in case.train.events}
    assert not any(SECRET in text for text in contestant.texts + contestant.fitted)
    assert found.dtype == np.float32 and found.shape[0] == len(given.texts) and np.isfinite(found).all()
    table = event_table(given, case.test)
    assert SECRET not in str(table.to_pydict()) and "label" not in table.column_names


def test_sparse_vectors_are_reduced_by_train_alone():
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    values = rng.random((40, 30)).astype(np.float32)
    other = values.copy()
    other[20:] = rng.random((20, 30))
    train = np.arange(20)
    assert np.allclose(dense(csr_matrix(values), train)[:20], dense(csr_matrix(other), train)[:20])
    assert dense(values, train) is values


def test_means():
    found = by_group(np.arange(3), Columns(np.zeros(3, dtype=np.int8), groups=list("aab")))
    assert mean_vectors(found, np.array([[1, 0], [3, 2], [5, 5]], dtype=np.float32)).tolist() == [[2, 1], [5, 5]]


def test_names_of_heads():
    assert fitting("nearest") == ("nearest", "normal") and fitting("iforest") == ("iforest", "all")
    assert fitting("iforest:normal") == ("iforest", "normal")
    with pytest.raises(UserError, match="no such detector"):
        fitting("nearset")
    with pytest.raises(UserError, match="fitted on normal or on all"):
        fitting("iforest:some")


def test_what_a_head_refuses():
    with pytest.raises(UserError, match="trained by logfm"):
        scored("lanobert")
    with pytest.raises(UserError, match="more than conad"):
        scored("conad", options=AnomalyOptions(conad_sequences=10))


def test_a_cap_on_what_is_fitted():
    case, judged = scored("nearest", options=AnomalyOptions(fit_events=20))
    assert roc_auc_score(case.test.labels, judged[0].test) > 0.9
