"""In which order cells are given to Ray; `test_ray.py` runs a cluster."""

from types import SimpleNamespace

from logfm.evaluation.suite import on_ray
from logfm.evaluation.suite.results import OK
from logfm.evaluation.suite.runner import run
from tests.evaluation.suite.fakes import measuring, registry


class FakeRay:
    """Runs a task when its answer is asked for; keeps what was given to it and asked of it."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self):
        self.events = []

    def cluster_resources(self):
        return {"CPU": 2}

    def put(self, one):
        return one

    def remote(self, **_):
        return lambda work: SimpleNamespace(remote=lambda *given: self._given(work, given))

    def _given(self, work, given):
        self.events.append(("given", given[0].task))
        return work, given

    def wait(self, answers, num_returns):
        self.events.append(("waited", num_returns))
        return answers, []

    def get(self, answer):
        work, given = answer
        self.events.append(("got", given[0].task))
        return work(*given)


def test_what_measures_time_runs_alone_and_last(tmp_path, monkeypatch):
    def score(vectors, _):
        return vectors[:, 0]

    ray = FakeRay()
    known = registry([measuring("slow", score, timed=True), measuring("plain", score)], baselines=())
    monkeypatch.setattr(on_ray, "connect", lambda workers: ray)
    monkeypatch.setattr(on_ray, "_tasks", lambda: known.tasks)
    rows = run(known, "small", ["random"], tmp_path, engine="ray")
    assert [(row.task, row.seed) for row in rows if row.metric == "score" and row.status == OK] == [
        ("slow", 0), ("slow", 1), ("plain", 0), ("plain", 1),
    ]  # fmt: skip
    assert ray.events == [
        ("given", "plain"), ("given", "plain"),
        ("waited", 2), ("given", "slow"), ("got", "slow"),
        ("waited", 2), ("given", "slow"), ("got", "slow"),
        ("got", "plain"), ("got", "plain"),
    ]  # fmt: skip
