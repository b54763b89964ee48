from dataclasses import replace

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly import heads, plain, reporting
from logfm.evaluation.anomaly.cases import make_case
from logfm.evaluation.anomaly.reporting import FEWEST
from logfm.evaluation.anomaly.sigma import by_sequence, sigma_scores
from logfm.evaluation.tasks import anomaly
from tests.evaluation.anomaly.samples import IN_TIME, PLAIN, SECRET, Tfidf, Words, blocks, by, data, spec

OPTIONS = {"heads": ("nearest", "iforest"), "resamples": 100}


def run(given=None, contestant=None, seed=0, **options):
    return list(anomaly.run(contestant or Words(), given or blocks(), seed, OPTIONS | options))


def test_planted_anomalies_are_found_by_heads_and_baselines():
    rows = run()
    areas = by(rows, "pr_auc")
    assert {"", "nearest", "iforest", "baseline new-template", "baseline count-pca", "baseline length"} <= set(areas)
    assert areas["nearest"] == areas[""] == areas["baseline new-template"] == 1
    assert areas["baseline length"] == pytest.approx(by(rows, "prevalence")["baseline length"])
    assert by(rows, "f1")[""] == 1 and by(rows, "recall@1%fpr")["nearest"] == 1
    assert {row.metric for row in rows} <= set(anomaly.META.metrics)
    assert all(len(row.replicates) == 100 for row in rows if row.metric == "pr_auc")
    assert "chosen on validation: nearest" in next(row.note for row in rows if row.metric == "f1")


def test_copies_are_counted_and_left_out():
    rows = run()
    copies = by(rows, "copies")[""]
    assert copies == 1  # blocks differ in numbers alone
    assert not any("no copies" in row.condition for row in rows)
    given = blocks(150, 5)
    test = make_case(given, 0).test
    bad = test.labels > 0
    unlike = np.concatenate((np.flatnonzero(bad)[:FEWEST], np.flatnonzero(~bad)[: 2 * FEWEST]))
    for number in unlike:
        for row in test.rows[number]:
            given.texts[row] += " without precedent"
    rows = run(given)
    assert by(rows, "copies")[""] == pytest.approx(1 - len(unlike) / len(test))
    left = next(row for row in rows if row.condition == "no copies" and row.metric == "pr_auc")
    assert left.count == 3 * FEWEST and by(rows, "prevalence")["nearest, no copies"] == pytest.approx(1 / 3)


def test_labels_never_reach_the_encoder():
    contestant = Tfidf()
    given = blocks()
    run(given, contestant)
    train = {given.texts[row] for row in make_case(given, 0).train.events}
    assert set(contestant.fitted) == train and contestant.texts == given.texts
    assert not any(SECRET in text for text in contestant.texts)


def test_test_labels_move_no_threshold(monkeypatch):
    def limits_with(labels):
        seen = []
        real = reporting.thresholds
        monkeypatch.setattr(reporting, "thresholds", lambda *given: seen.append(real(*given)) or seen[-1])
        given = blocks(options=IN_TIME)
        given.labels[:] = labels
        rows = run(given)
        monkeypatch.undo()
        return seen, by(rows, "pr_auc")

    given = blocks(options=IN_TIME)
    turned = given.labels.copy()
    test = make_case(given, 0).test.events
    turned[test] = np.roll(turned[test], 6)
    first, areas = limits_with(given.labels)
    second, others = limits_with(turned)
    assert len(first) > 5 and first == second
    assert areas["nearest"] != others["nearest"]


def test_recall_of_each_class():
    given = blocks()
    given.classes[:] = ["fire" if bad else "" for bad in given.labels]
    assert by(run(given), "recall_of_class") == {"class fire": 1}


def test_seeds_draw_other_splits_and_one_seed_the_same():
    given = blocks(shared="")
    rng = np.random.default_rng(0)
    given.texts[:] = [f"{text} {'x' * rng.integers(1, 9)}" for text in given.texts]
    areas = [by(run(given, seed=seed), "pr_auc")["iforest"] for seed in (0, 0, 1)]
    assert areas[0] == areas[1]
    assert len({tuple(make_case(given, seed).test.events) for seed in (0, 1)}) == 2


def test_baselines_do_not_look_at_the_encoder():
    first, second = (run(contestant=one) for one in (Words(), Tfidf()))
    told = [{name: area for name, area in by(rows, "pr_auc").items() if "baseline" in name} for rows in (first, second)]
    assert told[0] == told[1] and set(told[0]) == PLAIN


def test_validation_chooses_among_logbert_and_the_detectors_that_count(monkeypatch):
    def judge(name, case, *more):
        return [heads.Judged("max", *(part.labels.astype(float) for part in (case.validation, case.test)))]

    def blind(case, data, config):
        yield plain.plain("blind", *(np.zeros(len(part)) for part in (case.validation, case.test)))

    monkeypatch.setattr(anomaly, "judge", judge)
    monkeypatch.setattr(plain, "without_encoder", blind)
    rows = run(replace(blocks(), hash="logbert"), heads=("nearest", "logbert"))
    areas = by(rows, "pr_auc")
    assert areas["baseline blind"] < 1 == areas["baseline logbert"] == areas[plain.CHOSEN]
    note = next(row.note for row in rows if row.condition == plain.CHOSEN and row.metric == "f1")
    assert note.startswith("chosen on validation: logbert; no encoder")


def test_a_head_that_refuses_is_left_out_and_said():
    rows = run(heads=("nearest", "conad"), conad_sequences=10, baselines=False)
    assert "left out: conad" in next(row.note for row in rows if row.metric == "pr_auc" and row.condition == "")
    assert set(by(rows, "pr_auc")) == {"", "nearest"}
    with pytest.raises(UserError, match="no head can score"):
        run(heads=("conad",), conad_sequences=10)


def test_a_head_that_saw_the_test_does_not_lead(monkeypatch):
    """CONAD's graph holds the test's vectors; here it answers everything right, and the other head nothing."""

    def conad(case, vectors, seed, options):
        return [heads.Judged("mean vector", *(part.labels.astype(float) for part in (case.validation, case.test)))]

    class Blind(Words):
        def encode(self, texts, fit_on=()):
            return np.ones((len(texts), 4), dtype=np.float32)

    monkeypatch.setattr(heads, "_conad", conad)
    rows = run(contestant=Blind(), heads=("conad", "nearest"), baselines=False)
    areas = by(rows, "pr_auc")
    assert areas["conad"] == 1 > areas["nearest"] == areas[""]
    assert "chosen on validation: nearest" in next(row.note for row in rows if row.metric == "f1" and not row.condition)
    assert set(by(run(heads=("conad", "conad:normal"), baselines=False), "pr_auc")) == {"conad", "conad:normal"}


def test_what_cannot_be_measured():
    given = blocks()
    with pytest.raises(UserError, match="the test holds no anomaly"):
        run(data(given.texts, given.labels * 0, groups=given.groups))
    with pytest.raises(UserError, match="needs labels"):
        run(data(given.texts, given.labels).__class__(given.spec, "h", given.texts))
    with pytest.raises(UserError, match="options of the task anomaly"):
        run(head=("nearest",))
    with pytest.raises(UserError, match="no such detector"):
        run(heads=("nearset",))


RULE = """
title: Fire
id: 5af54681-df95-4c26-854f-2565e13cfab0
status: test
level: high
logsource: {product: linux, service: syslog}
detection:
    keywords: ['*is on fire*']
    condition: keywords
"""


def test_sigma_rules_as_a_baseline(tmp_path):
    pytest.importorskip("sigma")
    (tmp_path / "fire.yml").write_text(RULE)
    given = blocks()
    given = data(given.texts, given.labels, groups=given.groups, sources=["vsftpd"] * len(given.texts))
    scores, covered = sigma_scores(given, tmp_path)
    assert covered == len(given.texts)
    assert {text for text, score in zip(given.texts, scores, strict=True) if score} == {
        text for text in given.texts if "is on fire" in text
    }
    case = make_case(given, 0)
    assert ((by_sequence(case.test, scores) == 4) == (case.test.labels > 0)).all()
    assert by(run(given, rules=str(tmp_path)), "pr_auc")["baseline sigma"] == 1
    named = replace(given, hash="n", folder=tmp_path.parent, spec=spec(rules=tmp_path.name))
    assert by(run(named), "pr_auc")["baseline sigma"] == 1
    assert "baseline sigma" not in by(run(replace(named, hash="o", folder=tmp_path)), "pr_auc")
    elsewhere = blocks()
    assert "baseline sigma" not in by(run(elsewhere, rules=str(tmp_path)), "pr_auc")
