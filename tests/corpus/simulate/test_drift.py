import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import load_scenarios, simulate_sessions
from logfm.corpus.simulate.drift import is_used, load_changes, rewrites, staff_of, world_at
from logfm.corpus.simulate.planning import plan
from logfm.corpus.simulate.session import all_routines
from logfm.corpus.simulate.world import make_world
from logfm.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drift") / "made"
    config = SessionsConfig(seed=2, sessions=16, attacks=4, minutes=10, events=700, hosts=16)
    simulate_sessions(config, out, workers=1)
    return out


def _shares(made: Path) -> dict[str, float]:
    rows = pq.read_table(made / "sessions.parquet").to_pylist()
    return {row["session"]: (row["start"].day - 3 + row["start"].hour / 24) / 28 for row in rows}


def _texts(made: Path, file: str) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in sorted((made / "logs").glob(f"*/*/{file}"))}


def test_a_daemon_and_versions_change_with_time(made: Path) -> None:
    shares = _shares(made)
    seen = set()
    for session, text in _texts(made, "auth.log").items():
        late = shares[session] >= 0.5
        if "sshd" in text:
            assert (" sshd-session[" in text) == late
            assert (" sshd[" in text) == (not late)
            seen.add(late)
    assert seen == {True, False}
    builds = {
        session: set(re.findall(r"10\.0\.19041\.\d+", text)) for session, text in _texts(made, "events.json").items()
    }
    assert all(len(found) == 1 for found in builds.values())
    assert all(builds[name] == {"10.0.19041.5438"} for name, share in shares.items() if share < 0.35)
    assert all(builds[name] == {"10.0.19041.5608"} for name, share in shares.items() if share > 0.56)


def test_attacks_drift_like_everything_else(made: Path) -> None:
    shares = _shares(made)
    texts = {
        path.relative_to(made / "logs").as_posix(): path.read_bytes() for path in (made / "logs").rglob("auth.log")
    }
    rows = [row for row in pq.read_table(made / "truth.parquet").to_pylist() if row["file"] in texts]
    assert {row["label"] for row in rows} == {"attack", "benign"}
    for row in rows:
        line = texts[row["file"]][row["offset"] :].split(b"\n", 1)[0]
        if b" sshd" in line:
            assert (b" sshd-session[" in line) == (shares[row["session"]] >= 0.5)


def test_without_drift_nothing_changes() -> None:
    assert not rewrites(0.0, 0.99, "WS001")
    names = [one.name for one in all_routines() if is_used(one, 0.0, 0.99)]
    assert names == [one.name for one in all_routines() if is_used(one, 0.0, 0.0)]
    world = make_world(0, 40)
    assert world_at(world, 0.0, 0.9).users == world.users


def test_software_comes_and_goes() -> None:
    used = {share: {one.name for one in all_routines() if is_used(one, 1.0, share)} for share in (0.0, 0.5, 0.95)}
    assert {"new_assistant", "new_wiki", "sync_by_client"} & used[0.0] == set()
    assert {"new_assistant", "new_wiki", "sync_by_client"} <= used[0.95]
    assert {"old_wiki", "sync_to_cloud"} <= used[0.0]
    assert {"old_wiki", "sync_to_cloud", "share_code"} & used[0.95] == set()


def test_versions_roll_out_over_workstations() -> None:
    patch = next(one for one in load_changes() if one.name == "monthly_patch")
    share = patch.since + patch.rollout / 2
    patched = [patch.file in rewrites(1.0, share, f"WS{n:03d}") for n in range(60)]
    assert 10 < sum(patched) < 50


def test_people_come_go_and_move() -> None:
    world = make_world(3, 40)
    staff = staff_of(world, 1.0)
    assert len(staff.joined) >= 4 and len(staff.left) >= 3 and len(staff.moved) >= 4
    first, last = world_at(world, 1.0, 0.0), world_at(world, 1.0, 0.99)
    assert set(last.users) - set(first.users) == set(staff.joined)
    assert set(first.users) - set(last.users) == set(staff.left)
    assert set(first.hosts) - set(last.hosts) == {world.users[name].host for name in staff.left}
    changed = {
        name for name in first.users.keys() & last.users.keys() if first.users[name].role != last.users[name].role
    }
    assert changed == set(staff.moved)
    assert first.of_role("it") == last.of_role("it") == world.of_role("it")
    sessions = plan(SessionsConfig(seed=3, sessions=2000, attacks=0), world, load_scenarios())
    assert all(staff.there(one.user, one.share) for one in sessions)
    assert {one.user for one in sessions} == set(world.users)


def test_a_session_has_its_user_even_if_all_of_its_side_are_away() -> None:
    for seed in range(12):
        config = SessionsConfig(seed=seed, sessions=60, attacks=0, hosts=12, test_share=0.1)
        world = make_world(seed, 12)
        for one in plan(config, world, load_scenarios()):
            found = world_at(world, 1.0, one.share, one.user)
            assert one.user in found.users and one.host in found.hosts
    staff = staff_of(world, 1.0)
    away = next(iter(staff.left))
    assert away not in world_at(world, 1.0, 0.99).users
    assert away in world_at(world, 1.0, 0.99, away).users


def test_a_wrong_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drift.yaml").write_text(json.dumps({"changes": [{"name": "a", "since": 3}]}))
    with pytest.raises(UserError, match="cannot read the changes"):
        load_changes(tmp_path / "drift.yaml")
