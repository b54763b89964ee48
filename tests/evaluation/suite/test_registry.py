import pytest

from logfm.errors import UserError
from logfm.evaluation.suite import registry as registries

SPEC = """name: mine
title: t
source: s
licence: l
tasks: [search, {task}]
path: own.log
split: s
leakage: l
"""


def test_an_unknown_task_of_ones_own_data_set_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SPEC.format(task="similarty"))
    with pytest.raises(UserError) as found:
        registries.registry([tmp_path])
    assert str(found.value) == f"unknown task similarty: {path}. Did you mean similarity?"
    path.write_text(SPEC.format(task="similarity"))
    assert registries.registry([tmp_path]).own == ("mine",)


def test_what_can_change_a_score_is_in_the_hash_of_the_code():
    known = registries._called()
    assert {"configs/schema/anomaly.py", "corpus/rules/__init__.py", "finetune/__init__.py"} <= set(known)
