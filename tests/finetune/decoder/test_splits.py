from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.cases import CaseSet
from logfm.finetune.decoder.labelling import grammar_of
from logfm.finetune.decoder.splits import flip, split


def case(number, group, label="suspicious", text=None, source="s"):
    shown = (
        text or f"event of kind {'abcdefghijklmnopqrstuvwxyz'[number % 26]} {'xyz'[number % 3]}{chr(97 + number // 26)}"
    )
    return Case(f"c{number}", group, source, shown, {}, (f"e{number}",), {"verdict": (label,)})


def case_set(cases, **more):
    return CaseSet(grammar_of(cases, "chunks"), tuple(cases), {}, **more)


CASES = [case(number, f"g{number // 4}", "suspicious" if number % 4 == 0 else "normal") for number in range(80)]


def test_every_group_is_in_test_once_and_never_in_two_parts():
    seen = Counter()
    for fold in range(5):
        train, validation, test = split(case_set(CASES), fold, 5)
        groups = [{one.group for one in part} for part in (train, validation, test)]
        assert sum(map(len, groups)) == len(set().union(*groups)) == 20
        assert len(groups[2]) == 4 and len(groups[1]) == 2
        seen.update(groups[2])
    assert set(seen.values()) == {1} and len(seen) == 20


def test_folds_have_their_share_of_each_source():
    cases = [case(number, f"{'ab'[number < 20]}{number % 20}", source="ab"[number < 20]) for number in range(40)]
    for fold in range(4):
        sources = Counter(one.source for one in split(case_set(cases), fold, 4).test)
        assert sources == {"a": 5, "b": 5}


def test_another_seed_splits_otherwise():
    one, other = (split(case_set(CASES, seed=seed)).test for seed in (0, 1))
    assert one != other
    assert one == split(case_set(CASES)).test


def test_positives_that_test_has_but_for_their_values_leave_training():
    cases = [
        replace(one, text=f"procdump of pid {place}") if place % 8 == 0 else one for place, one in enumerate(CASES)
    ]
    found = split(case_set(cases))
    copies = [one for part in (found.train, found.validation) for one in part if one.text.startswith("procdump")]
    assert any(one.text.startswith("procdump") for one in found.test)
    assert not copies
    assert found.removed == 10 - sum(one.text.startswith("procdump") for one in found.test)
    assert len(found.train) + len(found.validation) + len(found.test) + found.removed == 80


def test_an_attack_that_is_cut_at_another_place_is_a_copy_too():
    cases = [
        case(number, f"g{number}", "normal" if number % 2 else "suspicious", f"all is well\n{word} is up")
        for number, word in enumerate("abcdefghijklmnopqrstuvwxyz")
    ]
    parts = {"g0": "test", **{f"g{number}": "train" for number in range(1, 26)}}
    cases[0] = replace(cases[0], text="b is up\n+3s HOST1 procdump of pid 12 x2\nwhoami asked\nd is up")
    cases[2] = replace(cases[2], text="whoami asked\n+77s f is up\nHOST2 procdump of pid 9")
    cases[4] = replace(cases[4], text="b is up\nprocdump of pid 3")
    cases[6] = replace(cases[6], text="procdump of pid 3\nnet user asked")
    cases[8] = replace(cases[8], text="b is up\nd is up")
    found = split(case_set(cases, parts=parts, given_split=True))
    gone = {one.case_id for one in cases} - {one.case_id for part in found for one in part}
    assert gone == {"c2", "c4"}
    assert found.removed == 2


def test_normal_cases_may_repeat():
    cases = [replace(one, text=f"all is well {place}") if place % 4 == 1 else one for place, one in enumerate(CASES)]
    assert split(case_set(cases)).removed == 0


def test_the_data_sets_own_test():
    parts = {f"g{number}": "test" if number < 3 else "train" for number in range(20)}
    found = split(case_set(CASES, parts=parts, given_split=True))
    assert {one.group for one in found.test} == {"g0", "g1", "g2"}
    with pytest.raises(UserError, match="no fold 1"):
        split(case_set(CASES, parts=parts, given_split=True), 1)
    with pytest.raises(UserError, match="no split of its own"):
        split(case_set(CASES, given_split=True))


def test_too_few_groups():
    with pytest.raises(UserError, match="too few groups"):
        split(case_set([case(0, "a"), case(1, "b")]))
    with pytest.raises(UserError, match="no fold 5"):
        split(case_set(CASES), 5, 5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(2, 5), st.integers(0, 3))
def test_no_case_is_lost_or_in_two_parts(groups, folds, seed):
    cases = [case(number, f"g{group}", text=f"word{chr(97 + number % 5)}") for number, group in enumerate(groups)]
    if len(set(groups)) < 6:
        return
    try:
        found = split(case_set(cases, seed=seed), 0, folds)
    except UserError:
        return
    ids = [one.case_id for part in found for one in part]
    assert len(ids) == len(set(ids)) == len(cases) - found.removed


def labelled(number, *techniques):
    return replace(case(number, f"g{number}"), answer={"techniques": techniques, "reason": (f"why {number}",)})


def test_flipped_labels_are_wrong_and_as_many_as_asked_for():
    given = [labelled(number, "T1") if number % 2 else labelled(number, "T2", "T3") for number in range(50)]
    found = flip(given, 0.2, 0)
    wrong = [(one, other) for one, other in zip(given, found, strict=True) if one.answer != other.answer]
    assert len(wrong) == 10
    assert all(set(one.answer["techniques"]) != set(other.answer["techniques"]) for one, other in wrong)
    assert all(one.text == other.text and one.case_id == other.case_id for one, other in zip(given, found, strict=True))
    assert found == flip(given, 0.2, 0) != flip(given, 0.2, 1)
    assert flip(given, 0, 0) == tuple(given)
    assert Counter(one.answer["verdict"] for one in flip(CASES, 1.0, 0)) == {("normal",): 20, ("suspicious",): 60}
