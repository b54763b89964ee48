from dataclasses import replace

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.aggregate import Key, scores
from logfm.evaluation.suite.compare import MCNEMAR, average_verdicts, gather, mcnemar, verdicts
from logfm.evaluation.suite.leaderboard import leaderboard
from logfm.evaluation.suite.results import Row, write
from tests.evaluation.suite.fakes import meta

NONE = np.empty(0, np.float32)
METAS = {"first": meta("first", main_score="map", metrics={"map": "higher"})}


def rows(encoder, value, *, data="linux", seeds=2, noise=0.0, spread=0.02, **more):
    """Rows of one encoder: the draws' part of the replicates is shared by all, the noise is its own."""
    found = []
    for seed in range(seeds):
        shared = np.random.default_rng([seed, len(data)]).normal(0, spread, 500)
        own = np.random.default_rng([seed, *encoder.encode()]).normal(0, noise, 500)
        replicates = (value + shared + own).astype(np.float32)
        settings = {"encoder_hash": encoder, "data_hash": data, "task_hash": "t", "count": 50, "replicates": replicates}
        found.append(Row("s", "first", data, "map", encoder, seed, value=value, **(settings | more)))
    return found


def by_pair(found):
    return {(one.first, one.second): one for one in found}


def test_seeds_are_pooled_not_averaged_away():
    found = scores(rows("a", 0.5, seeds=5))
    score = found[Key("first", "linux", "", "", "map")]["a"]
    alone = scores(rows("a", 0.5, seeds=1))[Key("first", "linux", "", "", "map")]["a"]
    assert score.estimate.replicates.shape == (2500,)
    assert score.value == pytest.approx(0.5)
    assert score.estimate.high - score.estimate.low == pytest.approx(alone.estimate.high - alone.estimate.low, rel=0.2)


def test_a_small_difference_on_the_same_draws_is_found_and_noise_is_a_tie():
    table = [*rows("a", 0.50), *rows("b", 0.51), *rows("c", 0.505, noise=0.05)]
    found = by_pair(verdicts(scores(table)))
    assert found["a", "b"].winner == "b"
    assert found["a", "c"].winner is None and found["a", "c"].tie
    assert found["b", "c"].tie
    assert found["a", "b"].difference.value == pytest.approx(-0.01)


def test_equal_encoders_tie():
    found = verdicts(scores([*rows("a", 0.5), *rows("b", 0.5)]))
    assert found[0].tie and found[0].p == 1.0


def test_lower_is_better_where_it_is():
    table = [replace(row, direction="lower") for row in [*rows("a", 0.50), *rows("b", 0.60)]]
    assert verdicts(scores(table))[0].winner == "a"
    table = [replace(row, direction="neither") for row in table]
    assert verdicts(scores(table)) == []


def test_p_is_adjusted_for_the_number_of_comparisons():
    few = verdicts(scores([*rows("a", 0.5), *rows("b", 0.501, noise=0.002)]))[0]
    many_rows = [*rows("a", 0.5), *rows("b", 0.501, noise=0.002)]
    for number in range(6):
        many_rows += rows(f"z{number}", 0.5)
    many = by_pair(verdicts(scores(many_rows)))["a", "b"]
    assert few.difference.p == many.difference.p
    assert few.p < many.p


def test_a_clear_difference_survives_a_large_table():
    table = [*rows("a", 0.5, noise=0.002), *rows("b", 0.6)]
    for number in range(20):
        table += rows(f"z{number:02}", 0.5, noise=0.02)
    found = verdicts(scores(table))
    assert len(found) == 231
    assert by_pair(found)["a", "b"].winner == "b"
    # The bootstrap alone can't say more than 2 / 1001 here, times 231.
    assert by_pair(found)["a", "b"].difference.p < 1e-10
    assert all(one.tie for one in found if one.first.startswith("z"))


def test_only_pairs_of_those_that_were_asked_for():
    table = [*rows("a", 0.5), *rows("b", 0.6), *rows("c", 0.7)]
    assert set(by_pair(verdicts(scores(table), {"a"}))) == {("a", "b"), ("a", "c")}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data_hash": "other"}, "not the same events"),
        ({"task_hash": "other"}, "another version or other options"),
        ({"task_version": 2}, "another version or other options"),
        ({"replicates": NONE}, "no paired replicates"),
        ({"replicates": np.float32([0.1])}, "no paired replicates"),
    ],
)
def test_what_differs_is_not_compared(changed, reason):
    found = verdicts(scores([*rows("a", 0.5), *rows("b", 0.9, **changed)]))[0]
    assert found.winner is None and found.p is None and not found.tie
    assert found.note.startswith(reason)


def test_seeds_that_one_lacks_are_left_out_of_the_difference():
    table = [*rows("a", 0.5, seeds=3), *rows("b", 0.6, seeds=1)]
    table[1] = replace(table[1], value=0.9)
    assert verdicts(scores(table))[0].difference.value == pytest.approx(-0.1)


def test_mcnemar_is_the_exact_binomial():
    assert mcnemar([True] * 10 + [False] * 5, [True] * 4 + [False] * 11) == pytest.approx(2 / 2**6)
    assert mcnemar([True, False], [True, False]) == 1.0
    mine = rows("a", 0.9, replicates=NONE, hits=np.array([True] * 18 + [False] * 2))
    theirs = rows("b", 0.1, replicates=NONE, hits=np.array([True] * 2 + [False] * 18))
    found = verdicts(scores([*mine, *theirs]))[0]
    assert (found.method, found.winner) == (MCNEMAR, "a")


def test_baselines_without_an_encoder_compete_once():
    plain = {"condition": "baseline new-template", "replicates": rows("x", 0.8)[0].replicates}
    table = [*rows("a", 0.5), *rows("a", 0.8, seeds=1, **plain), *rows("b", 0.6), *rows("b", 0.8, seeds=1, **plain)]
    found = scores(table)
    assert set(found) == {Key("first", "linux", "", "", "map")}
    assert set(found[Key("first", "linux", "", "", "map")]) == {"a", "b", "new-template (no encoder)"}
    assert leaderboard(found, METAS)[0].standings[0].encoder == "new-template (no encoder)"


def test_ranks_are_shared_by_who_cannot_be_told_apart():
    table = []
    for data in ("linux", "windows!"):
        table += [*rows("a", 0.5, data=data), *rows("b", 0.505, data=data, noise=0.05), *rows("c", 0.8, data=data)]
    board = leaderboard(scores(table), METAS)[0]
    assert [(one.encoder, one.rank) for one in board.standings] == [("c", 1), ("b", 2), ("a", 2)]
    assert board.tested and board.data_sets == ("linux", "windows!")
    assert board.standings[0].estimate.value == pytest.approx(0.8)
    # Independent data sets: their mean is known better than each of them.
    one = leaderboard(scores([row for row in table if row.data == "linux"]), METAS)[0].standings[0].estimate
    both = board.standings[0].estimate
    assert both.high - both.low < 0.85 * (one.high - one.low)


def test_a_set_of_others_events_has_a_board_of_its_own():
    table = [*rows("a", 0.5), *rows("b", 0.6), *rows("a", 0.9, data="mixed"), *rows("b", 0.1, data="mixed")]
    whole, apart = leaderboard(scores(table), METAS, {"mixed"})
    assert (whole.name, whole.data_sets) == ("first", ("linux",)) and whole.standings[0].encoder == "b"
    assert (apart.name, apart.data_sets) == ("first: mixed", ("mixed",)) and apart.standings[0].encoder == "a"
    (alone,) = leaderboard(scores(table[-4:]), METAS, {"mixed"})
    assert alone.name == "first"


def test_the_mean_of_one_set_is_that_set():
    found = scores(rows("a", 0.5, clusters=4))
    (board,) = leaderboard(found, METAS)
    mean, own = board.standings[0].estimate, found[Key("first", "linux", "", "", "map")]["a"].estimate
    assert (mean.low, mean.high) == pytest.approx((own.low, own.high)) and mean.high - mean.low > 0.08


def test_few_templates_tell_nobody_apart():
    table = [*rows("a", 0.5, clusters=3), *rows("b", 0.6, clusters=3)]
    board = leaderboard(scores(table), METAS)[0]
    assert board.tested and [one.rank for one in board.standings] == [1, 1]


def test_who_misses_a_data_set_has_no_rank():
    table = [*rows("a", 0.5), *rows("b", 0.6), *rows("a", 0.5, data="windows"), *rows("c", 0.9)]
    standings = leaderboard(scores(table), METAS)[0].standings
    assert [(one.encoder, one.rank, one.data_sets) for one in standings] == [
        ("a", 1, 2),
        ("c", None, 1),
        ("b", None, 1),
    ]


def test_nobody_is_ranked_on_different_events():
    standings = leaderboard(scores([*rows("a", 0.5), *rows("b", 0.6, data_hash="other")]), METAS)[0].standings
    assert [one.rank for one in standings] == [None, None]


def test_sets_for_choices_do_not_count_beside_sets_for_results():
    table = [*rows("a", 0.5), *rows("b", 0.6), *rows("a", 0.9, data="x", data_role="choices")]
    board = leaderboard(scores(table), METAS)[0]
    assert (board.role, board.data_sets) == ("results", ("linux",))
    alone = leaderboard(scores(table[-2:]), METAS)[0]
    assert (alone.role, alone.data_sets) == ("choices", ("x",))


def test_the_leading_condition_counts():
    lead = {"first": meta("first", main_score="map", metrics={"map": "higher"}, lead="best")}
    table = [*rows("a", 0.5, condition="best"), *rows("a", 0.9, condition="other")]
    assert leaderboard(scores(table), lead)[0].standings[0].estimate.value == pytest.approx(0.5)
    assert leaderboard(scores(table), METAS)[0].standings[0].estimate.value == pytest.approx(0.7)


def test_without_replicates_ranks_are_the_order_and_said_to_be():
    table = [*rows("a", 0.5, replicates=NONE), *rows("b", 0.6, replicates=NONE)]
    board = leaderboard(scores(table), METAS)[0]
    assert not board.tested
    assert [(one.encoder, one.rank) for one in board.standings] == [("b", 1), ("a", 2)]


def test_chance_that_was_not_tested_ranks_nobody():
    one_cluster = [*rows("a", 0.5, replicates=NONE, data="x"), *rows("b", 0.6, replicates=NONE, data="x")]
    board = leaderboard(scores([*rows("a", 0.5), *rows("b", 0.6), *one_cluster]), METAS)[0]
    assert not board.tested and [one.rank for one in board.standings] == [None, None]


def test_runs_side_by_side(tmp_path):
    for name, value, hashed in (("one", 0.5, "h1"), ("two", 0.9, "h2")):
        (tmp_path / name).mkdir()
        same = rows("tfidf", 0.4)
        write([*rows("ours", value, encoder_hash=hashed), *same], tmp_path / name)
    found = gather([tmp_path / "one", tmp_path / "two"])
    assert {row.encoder for row in found} == {"ours (one)", "ours (two)", "tfidf"}
    table = by_pair(verdicts(scores(found), {"ours (one)", "ours (two)"}))
    assert table["ours (one)", "ours (two)"].winner == "ours (two)"
    with pytest.raises(UserError, match="no results here"):
        gather([tmp_path / "one", tmp_path / "three"])


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    folders = [tmp_path / "a" / "local", tmp_path / "b" / "local", tmp_path / "b" / "other"]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        write(rows("ours", 0.3 + number / 10, encoder_hash=f"h{number}"), folder)
    found = gather([*folders[:2], folders[2] / "results.parquet"])
    assert [row.encoder for row in found[::2]] == ["ours (a/local)", "ours (b/local)", "ours (other)"]
    values = {name: score.value for name, score in scores(found)[Key("first", "linux", "", "", "map")].items()}
    assert values == {"ours (a/local)": 0.3, "ours (b/local)": 0.4, "ours (other)": 0.5}


def test_events_that_the_seed_draws_are_no_conflict(tmp_path):
    table = [replace(row, data_hash=f"kept of seed {row.seed}") for row in rows("ours", 0.5)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(table, tmp_path / name)
    assert {row.encoder for row in gather([tmp_path / "one", tmp_path / "two"])} == {"ours"}


def test_the_interval_of_a_mean_difference_agrees_with_its_p():
    def unit(name, data, parts):
        replicates = np.random.default_rng(len(data)).choice(parts, (500, 3)).mean(axis=1) if parts else np.zeros(500)
        (row,) = rows(name, float(np.mean(parts or [0.0])), data=data, seeds=1, clusters=3, replicates=replicates)
        return scores([row])[Key("first", data, "", "", "map")][name]

    units = {name: [unit(name, "linux", parts)] for name, parts in (("a", [0.1, 0.2, 0.6]), ("b", []))}
    (found,) = average_verdicts(Key("first", "", "", "", "map"), units, "higher")
    assert found.p > 0.05 and found.difference.low < 0 < found.difference.high
