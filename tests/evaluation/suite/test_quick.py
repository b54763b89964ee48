import json

from logfm.cli import main
from logfm.evaluation.suite.results import FAILED, NO_DATA, OK, read


def test_the_quick_suite_runs_without_any_data(tiny_encoder, tmp_path, monkeypatch, capsys):
    """What a newcomer runs first: everything is measured, random vectors are at chance, and the report is there."""
    monkeypatch.delenv("LOGFM_DATA", raising=False)
    words = ["eval", "run", "quick", "--encoder", f"tiny={tiny_encoder}", "--seeds", "1", "--out", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = read(tmp_path)
    assert not [row for row in rows if row.status in (FAILED, NO_DATA)]
    assert {row.task for row in rows if row.status == OK and row.encoder == "tiny"} >= {
        "similarity",
        "search",
        "intrinsic",
    }
    (chance,) = (row for row in rows if (row.encoder, row.metric, row.condition) == ("random", "pair_auc", ""))
    # Its 95 % interval leaves 0.5 out for one simulation in twenty.
    assert abs(chance.value - 0.5) < chance.high - chance.low
    boards = {board["task"]: board for board in document["leaderboard"]}
    best = {task: board["standings"][0]["encoder"] for task, board in boards.items() if task != "intrinsic"}
    # Random weights learnt nothing, but words in common are still seen by them; random vectors know nothing.
    assert "random" not in best.values()
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "Leaderboard" in (tmp_path / "report.html").read_text()
