"""Sequences of log keys: how they are made, and that order is judged."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch

from logfm.configs.schema.embeddings import DetectConfig, LogbertConfig
from logfm.corpus.events import SCHEMA
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import find
from logfm.embeddings.embed import KEYS
from logfm.embeddings.heads.keys import FIRST_KEY, PAD, UNKNOWN, vocabulary, windows
from logfm.embeddings.heads.logbert import judge, logbert, train

STEPS = (
    "connection from {}",
    "password accepted for uid {}",
    "shell opened on pts {}",
    "shell closed on pts {}",
    "bye {}",
)


def table(rows):
    """Events of (text, seconds or None, session_id, host)."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    schema = pa.schema([SCHEMA.field(name) for name in KEYS])
    return pa.Table.from_pylist(
        [
            {"event_id": str(i), "text": text, "source": "s", "file": "f", "offset": i, "session_id": session,
             "timestamp": None if seconds is None else start + timedelta(seconds=seconds), "host": host}
            for i, (text, seconds, session, host) in enumerate(rows)
        ],
        schema=schema,
    )  # fmt: skip


def sessions(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (step.format(rng.integers(1000)), 60 * number + second, f"{seed}-{number}", "h")
        for number in range(count)
        for second, step in enumerate(STEPS)
    ]


def test_windows_are_sessions_in_time_and_every_event_is_in_one():
    rows = [
        ("start 1", 0, "a", "h"), ("lone 1", 5, None, "h"), ("end 1", 2, "a", "h"), ("middle 1", 1, "a", "h"),
        ("lone 2", 100, None, "h"), ("other 9", 100, None, "g"), ("lone 3", 900, None, "h"), ("late", 9000, "a", "h"),
    ]  # fmt: skip
    events = table(rows)
    known = vocabulary(events, 100)
    found = windows(events, known, 3)
    got = {tuple(row[row >= 0].tolist()) for row in found.rows}
    # The session's own id holds over a pause; the host's events are cut at it; three events fill a window.
    assert got == {(0, 3, 2), (7,), (1, 4), (6,), (5,)}
    assert np.array_equal(found.keys == PAD, found.rows < 0)
    by_row = {int(row): int(key) for row, key in zip(found.rows.ravel(), found.keys.ravel(), strict=True) if row >= 0}
    assert by_row[1] == by_row[4] == by_row[6] >= FIRST_KEY  # equal but for a number
    assert by_row[5] != by_row[1]


def test_the_vocabulary_keeps_the_frequent_keys_and_the_rest_is_unknown():
    events = table([("often 1", 0, "a", "h"), ("often 2", 1, "a", "h"), ("rare", 2, "a", "h")])
    known = vocabulary(events, 1)
    assert windows(events, known, 4).keys.tolist() == [[FIRST_KEY, FIRST_KEY, UNKNOWN, PAD]]


def test_events_without_time_or_session_follow_each_other():
    events = table([("one", None, None, None), ("two", None, None, None)])
    assert windows(events, vocabulary(events, 9), 4).rows.tolist() == [[0, 1, -1, -1]]


@pytest.fixture(scope="module")
def judged():
    """Normal sessions, then one whose known keys stand in the wrong order, and one with an unknown key."""
    wrong = [STEPS[i].format(7) for i in (3, 0, 4, 2, 1)]
    unknown = [*(step.format(7) for step in STEPS[:2]), "implant loaded", STEPS[4].format(7)]
    rows = [*sessions(60, seed=1)]
    rows += [(text, 9_000 + i, "wrong", "h") for i, text in enumerate(wrong)]
    rows += [(text, 9_500 + i, "unknown", "h") for i, text in enumerate(unknown)]
    config = LogbertConfig(candidates=1, steps=200, hidden=32, learning_rate=5e-3)
    return table(rows), logbert(table(rows), table(sessions(300)), config, contamination=0.01, seed=0), config


def test_a_wrong_order_of_known_keys_scores_above_all_normal_events(judged):
    events, found, _ = judged
    session = np.array(events["session_id"].to_pylist())
    normal = found.scores[(session != "wrong") & (session != "unknown")]
    assert np.sort(found.scores[session == "wrong"])[-3:].min() > np.quantile(normal, 0.98)
    assert found.scores[session == "wrong"].max() > found.threshold
    assert (normal > found.threshold).mean() < 0.05


def test_an_unknown_key_is_always_a_miss(judged):
    events, found, _ = judged
    row = events["text"].to_pylist().index("implant loaded")
    assert found.scores[row] > 1
    assert found.scores[row] > found.threshold


def test_the_distance_to_the_centre_judges_where_no_key_is_missed(judged):
    """With as many candidates as keys nothing known is a miss: what is left is the hypersphere."""
    events, _, config = judged
    config = config.model_copy(update={"candidates": 9})
    found = logbert(events, table(sessions(300)), config, contamination=0.01, seed=0)
    session = np.array(events["session_id"].to_pylist())
    normal = found.scores[(session != "wrong") & (session != "unknown")]
    wrong = found.scores[session == "wrong"]
    assert len(set(wrong.tolist())) == 1  # the distance is that of the sequence
    assert wrong[0] > found.threshold
    assert wrong[0] > 1.5 * np.quantile(normal, 0.98) > 0


def test_the_training_draws_normal_sequences_to_the_centre():
    events = table(sessions(120))
    own = windows(events, vocabulary(events, 99), 8)
    distances = []
    for weight in (0.0, 0.1):
        config = LogbertConfig(window=8, steps=120, hidden=32, learning_rate=5e-3, sphere_weight=weight)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = train(own.keys, len(STEPS) + FIRST_KEY, config)
        distances.append(judge(model, own, config)[1].mean())
    assert distances[1] < distances[0] / 2


def test_the_same_seed_gives_the_same_scores(judged):
    events, _, config = judged
    few = LogbertConfig(**{**config.dump(), "steps": 5})
    one, two, other = (logbert(events, None, few, 0.01, seed).scores for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_planted_session_of_simulated_telemetry_stands_out(halves, tmp_path):
    """Logins that run backwards: every line is usual, their order is not."""
    steps = (
        "pam_unix(sshd:session): session closed for user carol",
        "Received disconnect from 10.87.10.20 port 41882:11: disconnected by user",
        "pam_unix(sshd:session): session opened for user carol(uid=1009) by (uid=0)",
        "Accepted publickey for carol from 10.87.10.20 port 50911 ssh2",
    )
    planted = [f"Mar  3 23:4{k}:{10 * i:02d} db01 sshd[9999]: {one}" for k in range(3) for i, one in enumerate(steps)]
    log = tmp_path / "after.log"
    log.write_text("".join(f"{line}\n" for line in [*halves[1].read_text().splitlines(), *planted]))
    config = DetectConfig(method="logbert", top=15, logbert=LogbertConfig(steps=150))
    found = find([log], LogEncoder.load("tfidf"), config, baseline=[halves[0]])
    assert found.events > 200
    assert found.findings[0].text in planted
    assert found.findings[0].above_threshold
    assert sum(one.text in planted for one in found.findings) >= 10


def test_names_are_values():
    rows = [("login of alice on db01", 0, "a", "db01"), ("login of bob on web", 1, "a", "web")]
    events = table(rows).set_column(KEYS.index("user"), "user", pa.array(["alice", "bob"]))
    assert len(vocabulary(events, 9)) == 1
