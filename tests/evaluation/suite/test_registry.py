import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite import codes, contestants
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
    known = codes.measuring()
    named = {"configs/schema/anomaly.py", "corpus/rules/__init__.py", "finetune/__init__.py", "corpus/headers.py"}
    assert named | {"evaluation/data/load.py", "tokenizer/log_tokenizer.py"} <= set(known)


def test_an_optional_package_is_in_the_hash_of_the_code(monkeypatch):
    before = codes.measuring()
    codes.measuring.cache_clear()
    monkeypatch.setattr(codes, "find_spec", lambda name: None)
    try:
        assert codes.measuring() != before and codes.measuring()["torch_geometric"] == "False"
    finally:
        codes.measuring.cache_clear()


def test_vectors_of_other_code_are_made_anew(tmp_path, monkeypatch):
    def folder():
        return contestants._open(f"py:{__name__}:OfOne", None, tmp_path).store.folder

    before = folder()
    assert before == folder()
    monkeypatch.setattr(contestants, "encoding", lambda: "other code")
    assert folder() != before


class OfOne:
    def encode(self, texts):
        return np.ones((len(texts), 2), dtype=np.float32)
