import numpy as np
import pytest
from sklearn import metrics

from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.scoring import (
    answer_figures,
    best_threshold,
    ceiling,
    confusions,
    label_figures,
    right_answers,
    set_figures,
    sets_seen,
    tactics_of,
)
from logfm.finetune.decoder.text_similarity import rouge_l

LABELS = ("normal", "suspicious", "other")
RNG = np.random.default_rng(3)
TRUTH = RNG.choice(LABELS, 300, p=(0.6, 0.3, 0.1))
FOUND = np.where(RNG.random(300) < 0.7, TRUTH, RNG.choice(LABELS, 300))
ONES = np.ones((1, 300))


def case(name, answer, group="g"):
    return Case(name, group, "s", "text", {}, (name,), answer)


def test_label_figures_are_scikit_learns():
    found = {name: value[0] for name, value in label_figures(TRUTH, FOUND, LABELS, ONES, "suspicious").items()}
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, FOUND))
    assert found["precision"] == pytest.approx(metrics.precision_score(TRUTH, FOUND, average="macro"))
    assert found["recall"] == pytest.approx(metrics.recall_score(TRUTH, FOUND, average="macro"))
    assert found["f1"] == pytest.approx(metrics.f1_score(TRUTH, FOUND, average="macro"))
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(TRUTH, FOUND))
    attack = {"labels": ["suspicious"], "average": "macro"}
    assert found["attack_f1"] == pytest.approx(metrics.f1_score(TRUTH, FOUND, **attack))
    assert found["attack_precision"] == pytest.approx(metrics.precision_score(TRUTH, FOUND, **attack))
    assert found["attack_recall"] == pytest.approx(metrics.recall_score(TRUTH, FOUND, **attack))
    assert found["majority"] == pytest.approx((TRUTH == "normal").mean())
    assert found["invalid"] == 0


def test_invalid_is_a_class_that_is_never_true():
    given = [None if place % 5 == 0 else label for place, label in enumerate(FOUND)]
    found = {name: value[0] for name, value in label_figures(TRUTH, given, LABELS, ONES, "suspicious").items()}
    named = [label or "invalid" for label in given]
    assert found["invalid"] == pytest.approx(0.2)
    assert found["accuracy"] + found["wrong"] + found["invalid"] == pytest.approx(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(TRUTH, named))
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(TRUTH, named))
    expected = metrics.f1_score(TRUTH, named, labels=list(LABELS), average="macro")
    assert found["f1"] == pytest.approx(expected)


def test_a_weight_is_as_many_copies():
    counts = RNG.integers(0, 4, 300)
    weighted = label_figures(TRUTH, FOUND, LABELS, counts[None].astype(float), "suspicious")
    repeated = label_figures(
        np.repeat(TRUTH, counts), np.repeat(FOUND, counts), LABELS, np.ones((1, counts.sum())), "suspicious"
    )
    for name in weighted:
        if name != "majority":
            assert weighted[name] == pytest.approx(repeated[name]), name


def test_set_figures():
    truth = [frozenset("ab"), frozenset("c"), frozenset(), frozenset("a"), frozenset()]
    found = [frozenset("a"), frozenset("c"), frozenset(), None, frozenset("b")]
    one = {name: value[0] for name, value in set_figures(truth, found, np.ones((1, 5))).items()}
    assert one["exact"] == pytest.approx(2 / 5)
    assert one["overlap"] == pytest.approx(3 / 5)
    assert one["jaccard"] == pytest.approx((0.5 + 1 + 1 + 0 + 0) / 5)
    assert one["invalid"] == pytest.approx(1 / 5)
    assert one["wrong"] == pytest.approx(2 / 5)
    assert (one["micro_precision"], one["micro_recall"]) == pytest.approx((2 / 3, 2 / 4))
    assert one["micro_f1"] == pytest.approx(4 / 7)
    # a: 1 right, 1 missed; b: 1 missed, 1 extra; c: right.
    assert one["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_set_figures_under_weights_are_those_of_copies():
    sets = [frozenset(RNG.choice(list("abcd"), RNG.integers(0, 3), replace=False).tolist()) for _ in range(80)]
    given = [frozenset(RNG.choice(list("abcd"), RNG.integers(0, 3), replace=False).tolist()) for _ in range(80)]
    counts = RNG.integers(0, 3, 80)
    weighted = set_figures(sets, given, counts[None].astype(float))
    copies = [place for place, count in enumerate(counts) for _ in range(count)]
    repeated = set_figures([sets[i] for i in copies], [given[i] for i in copies], np.ones((1, len(copies))))
    for name in weighted:
        assert weighted[name] == pytest.approx(repeated[name]), name


def test_levels_of_techniques_and_reasons():
    grammar = Grammar((Slot("techniques", "set", ("T1003", "T1059.001", "T1059.003")), Slot("reason", "text")))
    cases = [
        case("1", {"techniques": ("T1059.001",), "reason": ("PowerShell downloads a file",)}),
        case("2", {"techniques": ("T1003",), "reason": ("dump of LSASS",)}),
    ]
    answers = [{"techniques": ("T1059.003",), "reason": ("PowerShell downloads",)}, None]
    tactics = {"T1059": ("execution",), "T1003": ("credential-access",), "T1059.003": ("execution",)}
    found = {name: value[0] for name, value in answer_figures(cases, answers, grammar, None, tactics).items()}
    assert found["techniques/jaccard"] == 0
    assert found["techniques/parent/jaccard"] == 0.5
    assert found["techniques/tactic/micro_f1"] == pytest.approx(2 / 3)
    assert found["techniques/invalid"] == 0.5
    assert found["reason/rouge_l"] == pytest.approx((4 / 6) / 2)


def test_one_technique_is_scored_as_parent_too():
    grammar = Grammar((Slot("technique", "one", ("T1059.001", "T1059.003", "none")),))
    cases = [case("1", {"technique": ("T1059.001",)}), case("2", {"technique": ("none",)})]
    found = answer_figures(cases, [{"technique": ("T1059.003",)}, {"technique": ("none",)}], grammar)
    assert found["technique/accuracy"][0] == 0.5
    assert found["technique/parent/exact"][0] == 1
    assert "technique/exact" not in found


def test_alert_or_not_counts_all_other_classes_together():
    grammar = Grammar((Slot("threat", "one", ("access", "benign", "impact")),))
    truth = ["access", "impact", "impact", "benign", "benign", "benign"]
    found = ["impact", "impact", "benign", "benign", "access", None]
    cases = [case(str(place), {"threat": (label,)}) for place, label in enumerate(truth)]
    answers = [None if label is None else {"threat": (label,)} for label in found]
    figures = answer_figures(cases, answers, grammar)
    alert, called = [one != "benign" for one in truth], [one not in ("benign", None) for one in found]
    assert figures["threat/alert_f1"][0] == pytest.approx(metrics.f1_score(alert, called))
    classes = [str(one != "benign") if one else "invalid" for one in found]
    expected = metrics.matthews_corrcoef([str(one) for one in alert], classes)
    assert figures["threat/alert_mcc"][0] == pytest.approx(expected)
    assert "threat/alert_f1" not in answer_figures([], [], Grammar((Slot("threat", "one", ("access", "impact")),)))


def test_tactics_of_a_sub_technique_that_is_not_listed():
    assert tactics_of(["T1059.001", "T9999"], {"T1059": ("execution",)}) == {"execution"}


def test_right_answers_and_confusions():
    slot = Slot("label", "one", ("normal", "suspicious"))
    cases = [case(str(place), {"label": (label,)}) for place, label in enumerate(("normal", "suspicious", "normal"))]
    answers = [{"label": ("normal",)}, {"label": ("normal",)}, None]
    assert right_answers(cases, answers, slot).tolist() == [True, False, False]
    table = confusions(["normal", "suspicious", "normal"], ["normal", "normal", None])
    assert table == {"normal": {"normal": 1, "invalid": 1}, "suspicious": {"normal": 1}}


def test_a_set_can_be_composed_of_the_labels_of_others():
    train = [case("1", {"t": ("a", "b")}), case("2", {"t": ()})]
    test = [case("3", {"t": ("b", "a")}), case("4", {"t": ("a",)}), case("5", {"t": ()}), case("6", {"t": ("c",)})]
    assert sets_seen(train, test, "t") == 0.5
    assert ceiling(train, test, "t") == 0.75
    assert np.isnan(ceiling(train, [], "t"))


def test_the_best_threshold_is_the_best():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=60).round(1)
    attack = rng.random(60) < 0.3
    worth, threshold = best_threshold(scores, attack)

    def at(limit):
        return (metrics.f1_score(attack, scores > limit) + metrics.matthews_corrcoef(attack, scores > limit)) / 2

    assert worth == pytest.approx(at(threshold))
    assert worth == pytest.approx(max(at(limit) for limit in [*scores, -99.0]))


def test_where_attacks_are_common_not_everything_is_one():
    attack = np.array([True] * 8 + [False] * 2)
    scores = np.array([5.0, 5, 5, 5, 5, 1, 1, 2, 2, 1])
    assert (scores > best_threshold(scores, attack)[1]).sum() == 5


@pytest.mark.parametrize(
    ("first", "second", "score"),
    [
        ("a b c d", "a c d", 6 / 7),
        ("a b c", "c b a", 2 / 6),
        ("T1059.001 used", "t1059.001, USED!", 1.0),
        ("", "", 1.0),
        ("word", "", 0.0),
    ],
)
def test_rouge_l(first, second, score):
    assert rouge_l(first, second) == pytest.approx(score)
    assert rouge_l(second, first) == pytest.approx(score)


def test_answers_and_cases_must_match():
    with pytest.raises(ValueError, match="1 answers for 0 cases"):
        answer_figures([], [None], Grammar(()))
