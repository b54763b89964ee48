from dataclasses import replace

import numpy as np

from logfm.evaluation.anomaly.cases import Case, make_case
from logfm.evaluation.anomaly.reporting import Scored, measured
from logfm.evaluation.anomaly.windows import Columns, by_group
from logfm.evaluation.suite.task import UNSEEN
from tests.evaluation.anomaly.samples import blocks, data


def test_what_was_trained_on_is_left_out_sequence_by_sequence():
    labels = [row % 2 for row in range(40)]
    sequences = by_group(
        np.arange(40), Columns(np.array(labels, dtype=np.int8), groups=[str(row) for row in range(40)])
    )
    case = Case(sequences, sequences, sequences, rule="")
    scores = np.array(labels, dtype=np.float64)
    scores[:10] = 1 - scores[:10]
    known = np.arange(40) < 10
    lines = replace(data([f"line {row}" for row in range(40)], labels), seen=known)
    limits = Scored("", np.array(labels, dtype=np.float64), scores)
    rows = list(measured(limits, case, np.zeros(40, dtype=bool), 0, 100, lines))
    found = {(one.condition, one.metric): one for one in rows}
    assert found["", "accuracy"].value == 0.75 and found["", "accuracy"].count == 40
    assert found[UNSEEN, "accuracy"].value == 1 and found[UNSEEN, "accuracy"].count == 30
    assert found[UNSEEN, "accuracy"].judged and not found["", "accuracy"].judged
    assert not any(condition == "no copies" for condition, _ in found)


def test_too_few_that_nobody_saw_have_no_figures():
    labels = [row % 2 for row in range(20)]
    sequences = by_group(
        np.arange(20), Columns(np.array(labels, dtype=np.int8), groups=[str(row) for row in range(20)])
    )
    lines = replace(data([f"line {row}" for row in range(20)], labels), seen=np.arange(20) < 12)
    scored = Scored("", np.array(labels, dtype=np.float64), np.array(labels, dtype=np.float64))
    rows = measured(scored, Case(sequences, sequences, sequences, rule=""), np.zeros(20, dtype=bool), 0, 100, lines)
    assert {one.condition for one in rows} == {""}


def test_alerts_a_day_say_what_they_are_of():
    """By entity the test holds two fifths of the blocks, which span nearly all of the time."""
    given = blocks()
    case = make_case(given, 0)
    one = Scored("", case.validation.labels.astype(np.float64), case.test.labels.astype(np.float64), "a head")

    def notes(lines):
        return {row.metric: row.note for row in measured(one, case, np.zeros(24, dtype=bool), 0, 100, lines)}

    assert "alerts of the test's entities and time alone, 144 of the 360 events" in notes(given)["alerts_a_day"]
    assert notes(given)["alerts_a_day"].startswith("a head") and "alerts of" not in notes(given)["f1"]
    drawn = notes(replace(given, left_out={"above the cap, drawn at random": 40}))
    assert "144 of the 360 events that were drawn of more" in drawn["alerts_a_day"]
