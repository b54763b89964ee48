"""The suite's embedding tasks run in mteb, and give there what they give here."""

import hashlib
import importlib.util

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.mteb_tasks import mteb_encoder, mteb_tasks
from logfm.evaluation.suite.registry import Registry, registry
from logfm.evaluation.suite.runner import run
from tests.evaluation.suite.fakes import Lengths

# Importing mteb takes seconds, so it is not imported where tests are collected.
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="mteb is not installed"),
    pytest.mark.filterwarnings("ignore"),
]


def small() -> Registry:
    known = registry()
    spec = known.data["simulated"].model_copy(update={"most_rows": 600})
    suite = known.suites["quick"].model_copy(update={"tasks": {"search": {}}, "seeds": 1, "baselines": ()})
    return Registry(known.tasks, {"simulated": spec}, {"quick": suite}, known.load, known.codes)


class Distinct(Lengths):
    """Vectors by the first letters of a line, without ties, which two libraries may break differently."""

    dim = 16

    def encode(self, texts):
        return np.stack([3 * self._drawn(text[:4]) + self._drawn(text) for text in texts])

    def _drawn(self, text):
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        return np.random.default_rng(key).standard_normal(self.dim).astype(np.float32)


@pytest.mark.slow
def test_mteb_gives_the_same_search_scores(tmp_path, own):
    import mteb

    uri = own("letters", Distinct("letters"))
    tasks = mteb_tasks(names=["simulated"], known=small())
    assert [task.metadata.name for task in tasks] == ["LogSimilarity.simulated", "LogSearch.simulated"]
    assert type(mteb.get_task("LogSearch.simulated")) is type(tasks[1])
    results = mteb.evaluate(mteb_encoder(uri), tasks, cache=None, show_progress_bar=False)
    theirs = {one.task_name: one.scores["test"][0] for one in results.task_results}
    rows = run(small(), "quick", [uri], tmp_path)
    ours = {row.metric: row for row in rows if row.task == "search" and not row.condition}
    assert 0 < ours["map"].value < 1
    assert theirs["LogSearch.simulated"]["map_at_1000"] == pytest.approx(ours["map"].value, abs=1e-4)
    assert theirs["LogSearch.simulated"]["mrr_at_1000"] == pytest.approx(ours["mrr"].value, abs=1e-4)
    assert 0 < theirs["LogSimilarity.simulated"]["main_score"] <= 1


def test_unknown_data_sets():
    with pytest.raises(UserError, match=r"unknown data set: simulatd. Did you mean simulated\?"):
        mteb_tasks(names=["simulatd"])
