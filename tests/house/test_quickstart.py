"""The main job from end to end: small, on text made here, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from logfm.artifacts import read_manifest
from logfm.pretrain.shipped import SHIPPED

FAST = ["--config", "quickstart-small", "--set", "train.minutes=0.05", "--set", "comparison.max_lines=200"]


def command(*arguments):
    return [sys.executable, "-m", "logfm.cli", "quickstart", *map(str, arguments), *FAST]


def run(*arguments):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=280, env=os.environ | {"PYTHONSAFEPATH": "1"}
    )


@pytest.fixture
def logs(tmp_path):
    """Two sources of 900 lines each, with a hostile one among them."""
    rng = np.random.default_rng(0)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    users = ["root", "alice", "bob"]
    auth, web = [], []
    for i in range(900):
        when = start + timedelta(seconds=20 * i)
        auth.append(
            f"{when:%b %d %H:%M:%S} gate sshd[{rng.integers(300, 9999)}]: "
            + ("Accepted password" if rng.random() < 0.7 else "Failed password")
            + f" for {users[rng.integers(3)]} from 192.0.2.{rng.integers(255)} port {rng.integers(1024, 65535)} ssh2"
        )
        web.append(
            f'198.51.100.{rng.integers(255)} - - [{when:%d/%b/%Y:%H:%M:%S +0000}] "GET /item/{rng.integers(50)} '
            f'HTTP/1.1" {200 if rng.random() < 0.9 else 404} {rng.integers(100, 9999)} "-" "curl/8.0"'
        )
    auth.insert(
        450, "Mar 02 02:30:00 gate sshd[1]: Invalid user <script>alert(1)</script> \x1b[31m[MASK] from 192.0.2.1"
    )
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "auth.log").write_text("\n".join(auth) + "\n")
    (folder / "access.log").write_text("\n".join(web) + "\n")
    return folder


def check(out, events):
    """Everything that a quickstart promises is there and fits together."""
    for stage in ("corpus", "tokenizer", "tokens", "run", "encoder", "index"):
        assert read_manifest(out / stage)
    assert read_manifest(out / "corpus").metrics["events"] == events
    assert pq.read_metadata(out / "vectors.parquet").num_rows == events
    page = (out / "report.html").read_text()
    assert page.count("<html") == 1 and "<script" not in page.lower()
    assert "TF-IDF" in page
    assert not [path for path in out.iterdir() if path.name.endswith(".partial")]
    found = subprocess.run(
        [sys.executable, "-m", "logfm.cli", "search", str(out / "index"), "Failed password for root", "-k", "3"],
        capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONSAFEPATH": "1", "COLUMNS": "300"},
    )  # fmt: skip
    assert found.returncode == 0 and "auth.log" in found.stdout


@pytest.mark.slow
def test_killed_at_every_stage_and_started_again(logs, tmp_path):
    out = tmp_path / "out"
    waits = [out / "corpus", out / ".run.partial", out / "encoder"]
    for wait in waits:
        process = subprocess.Popen(
            command(logs, "--out", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        deadline = time.monotonic() + 200
        while not wait.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run(logs, "--out", out)
    assert done.returncode == 0, done.stderr
    check(out, events=1801)
    other = run(logs / "auth.log", "--out", out)
    assert other.returncode == 2 and "another quickstart" in other.stderr


@pytest.mark.slow
def test_without_input_it_simulates_and_ranks_the_attack_and_its_encoder_goes_on_learning_elsewhere(logs, tmp_path):
    done = run("--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    events = read_manifest(tmp_path / "out" / "corpus").metrics["events"]
    assert events >= 1500
    check(tmp_path / "out", events)
    truth = pq.read_table(tmp_path / "out" / "telemetry" / "truth.parquet")
    assert truth.num_rows == events
    assert "attack" in (tmp_path / "out" / "report.html").read_text()
    start = tmp_path / "out" / "encoder"
    going_on = ["--set", f"start={start}", "--set", "contrast.events=16", "--set", "contrast.max_tokens=48"]
    done = run(logs, "--out", tmp_path / "next", *going_on)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "next" / "tokenizer").exists() and read_manifest(tmp_path / "next" / "views")
    old, new = (read_manifest(one).outputs for one in (start, tmp_path / "next" / "encoder"))
    assert old["tokenizer.json"] == new["tokenizer.json"] and old["model.safetensors"] != new["model.safetensors"]
    page = (tmp_path / "next" / "report.html").read_text()
    assert page.count("<html") == 1 and "TF-IDF" in page
    # Too little for pairs of views: it learns by masked tokens.
    few = tmp_path / "few.log"
    few.write_text("".join(f"Mar  2 10:00:{n % 60:02d} gate sshd[{n}]: Failed password for u{n}\n" for n in range(100)))
    done = run(few, "--out", tmp_path / "few", *going_on)
    assert done.returncode == 0 and "by masked tokens alone" in done.stderr, done.stderr
    # Without an encoder to start from there is no stage of pairs, whatever the recipe says of it.
    done = run(logs, "--out", tmp_path / "anew", "--set", "contrast.events=16")
    assert done.returncode == 0 and read_manifest(tmp_path / "anew" / "tokenizer"), done.stderr
    missing = run(logs, "--out", tmp_path / "third", "--set", "start=nano")
    assert missing.returncode == (0 if SHIPPED.is_dir() else 2)
