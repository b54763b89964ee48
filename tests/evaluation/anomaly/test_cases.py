import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import limited, make_case
from tests.evaluation.anomaly.samples import blocks, data


def parts(case):
    return [{int(row) for row in part.events} for part in (case.train, case.validation, case.test)]


def test_groups_stay_whole_and_on_one_side():
    given = blocks()
    case = make_case(given, 3)
    train, validation, test = parts(case)
    assert not train & validation and not train & test and not validation & test
    assert len(train | validation | test) == len(given.texts)
    assert all(len(rows) == 6 for rows in case.test.rows)
    assert case.rule == "split by entity, sequences by group"
    assert case.normal.labels.sum() == 0 and len(case.normal) < len(case.train)


def test_windows_are_cut_inside_a_part():
    case = make_case(blocks(options={"unit": "window", "window_seconds": 1000, "split_by": "time"}), 0)
    given = blocks()
    last = [max(given.times[rows].max() for rows in part.rows) for part in (case.train, case.validation)]
    first = [min(given.times[rows].min() for rows in part.rows) for part in (case.validation, case.test)]
    assert last[0] < first[0] and last[1] < first[1]
    assert all(np.ptp(given.times[rows]) < 1000 for rows in case.test.rows)
    assert case.rule == "split by time, sequences by windows of 1000 s"


def test_entities_before_a_slash_are_not_torn():
    given = blocks()
    names = [f"app{int(group[1:]) // 6}/{group}" for group in given.groups]
    given = data(given.texts, given.labels, groups=names, options={"entity": "slash"})
    case = make_case(given, 0)
    apps = [{names[row].split("/")[0] for row in rows} for rows in parts(case)]
    assert not apps[0] & apps[1] and not apps[0] & apps[2] and not apps[1] & apps[2]
    assert set(case.test.clusters) == apps[2] and len(case.test) == 6 * len(apps[2])


def test_a_part_of_the_data():
    given = blocks()
    rows = np.arange(120, 240)
    taken = set().union(*parts(make_case(given, 0, rows=rows)))
    assert taken == set(rows.tolist())


def test_what_makes_no_case():
    given = blocks()
    with pytest.raises(UserError, match="needs labels"):
        make_case(data(given.texts, given.labels).__class__(given.spec, "h", given.texts), 0)
    with pytest.raises(UserError, match="time of every event"):
        make_case(data(given.texts, given.labels, options={"split_by": "time"}), 0)
    with pytest.raises(UserError, match="reach over a border"):
        make_case(blocks(options={"unit": "group", "split_by": "time"}), 0)
    with pytest.raises(UserError, match="options of the data set"):
        make_case(blocks(options={"unit": "groups"}), 0)


def test_options_for_readers_are_left_alone():
    assert len(make_case(blocks(options={"label": "x", "collapse": 60}), 0).test)


def test_a_limit_draws_whole_sequences_with_the_seed():
    train = make_case(blocks(), 0).train
    assert limited(train, None, 0) is train and limited(train, 999, 0) is train
    found = limited(train, 7, 1)
    assert len(found) == 7 and np.array_equal(found.events, limited(train, 7, 1).events)
