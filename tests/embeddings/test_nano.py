"""The encoder that ships: what is in its folder, and that everything works with it and no option."""

import json
import re

import numpy as np
import orjson
import pytest
from safetensors import safe_open

from logfm.artifacts import file_hash, read_manifest
from logfm.cli import main
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.pretrain.shipped import SHIPPED
from tests.embeddings.samples import log_lines, write_log
from tests.embeddings.test_commands import run

MESSAGES = (
    "sshd[{}]: Failed password for invalid user u{} from 10.2.{}.9 port {} ssh2",
    "sshd[{}]: Accepted publickey for u{} from 10.2.{}.9 port {} ssh2",
    "kernel: [{}.3] usb {}-1: new high-speed device number {} using driver x{}",
    "kernel: [{}.7] Out of memory: killed process {} (java{}), total {} kB",
    "cron[{}]: (u{}) CMD (/usr/lib/job{} --shard {})",
    "dhclient[{}]: lease of 10.{}.{}.4 renewed, {} seconds left",
    "postfix/smtpd[{}]: connect from mail{}.example.com[192.0.2.{}], tls {}",
    "nginx[{}]: upstream timed out while reading response from 10.{}.{}.3, request {}",
)


@pytest.fixture(scope="module")
def labelled():
    """Twenty lines of each message, values drawn anew."""
    rng = np.random.default_rng(1)
    rows = [(name, text.format(*rng.integers(1, 250, 4))) for name, text in enumerate(MESSAGES) for _ in range(20)]
    return np.array([name for name, _ in rows]), [f"Jan  5 10:00:00 web1 {text}" for _, text in rows]


def test_the_folder_is_small_plain_and_whole():
    manifest = read_manifest(SHIPPED, "encoder")
    found = {path.relative_to(SHIPPED).as_posix(): path for path in SHIPPED.rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in found.values()) < 25e6
    assert {path.suffix for path in found.values()} <= {".json", ".safetensors", ".onnx", ".md", ".parquet"}
    assert set(manifest.outputs) <= set(found)
    assert all(file_hash(found[name]) == known.sha256 for name, known in manifest.outputs.items())
    assert manifest.licences and not any(
        word in licence for licence in manifest.licences for word in ("GPL", "NC", "-SA")
    )
    with safe_open(SHIPPED / "model.safetensors", framework="np") as held:
        shapes = {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118
    beside = sum(int(np.prod(shape)) for name, shape in shapes.items() if "word_embeddings" not in name)
    assert beside <= 6e6
    vocabulary = json.loads((SHIPPED / "config.json").read_bytes())["vocab_size"]
    assert 8192 <= vocabulary <= 12_288


def test_the_card_has_results_beside_baselines_and_an_audit():
    card = (SHIPPED / "README.md").read_text()
    for task in ("similarity", "search", "meaning", "anomaly", "subsampling"):
        assert re.search(rf"### {task}\n\n\| \w+[^|]* \| nano \|.*(MiniLM|TF-IDF)", card), task
    assert "## What it remembers" in card


def test_no_file_names_a_place_on_the_machine_that_made_it():
    for name in ("README.md", "training.json", "manifest.json", "config.json", "modules.json"):
        assert not re.search(r"(?<!\w)/(tmp|home|root|work|data|mnt)/", (SHIPPED / name).read_text())


def test_the_card_says_what_it_is_made_of():
    card = (SHIPPED / "README.md").read_text()
    assert "# nano\n" in card and 'LogEncoder.load("nano")' in card
    for heading in (
        "## Use",
        "## Data",
        "## Training",
        "## What it remembers",
        "## Limits",
        "## Licence",
    ):
        assert heading in card


@pytest.mark.parametrize("backend", ["auto", "torch", "onnx-int8"])
def test_lines_of_one_message_lie_together(labelled, backend):
    messages, lines = labelled
    vectors = LogEncoder.load("nano", EncoderConfig(backend=backend)).encode(lines)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1)[:, :10]
    assert (messages[nearest] == messages[:, None]).mean() > 0.95


def test_integers_give_what_floats_give(labelled):
    whole, small = (LogEncoder.load("nano", backend=name).encode(labelled[1]) for name in ("torch", "onnx-int8"))
    cosines = (whole * small).sum(1) / np.linalg.norm(whole, axis=1) / np.linalg.norm(small, axis=1)
    assert cosines.min() > 0.98


def test_long_texts_are_read_whole_on_request():
    head = "kernel: audit " * 150
    texts = [head + "segfault at 0", head + "session closed for user root"]
    cut, whole = (LogEncoder.load("nano", EncoderConfig(max_tokens=asked)) for asked in (None, 1_000))
    assert (cut.backend.limit, whole.backend.limit) == (254, 1_000)
    assert np.allclose(*cut.encode(texts)) and not np.allclose(*whole.encode(texts))
    assert (cut.counts.cut, whole.counts.cut) == (2, 0)
    longest = LogEncoder.load("nano", EncoderConfig(max_tokens=48_000))
    assert (longest.config.backend, longest.backend.limit) == ("torch", 47_998)


def test_sentence_transformers_reads_the_folder(labelled):
    library = pytest.importorskip("sentence_transformers")
    ours = LogEncoder.load("nano", backend="torch").encode(labelled[1][:20])
    theirs = library.SentenceTransformer(str(SHIPPED), device="cpu").encode(labelled[1][:20])
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()


def test_its_name_stands_for_its_folder_wherever_a_folder_does(labelled, tmp_path, monkeypatch):
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)  # where something else has that name
    lines = labelled[1][:5]
    ours = LogEncoder.load("nano", backend="torch").encode(lines)
    for scheme in ("st", "hf"):
        pytest.importorskip("sentence_transformers" if scheme == "st" else "transformers")
        theirs = LogEncoder.load(f"{scheme}:nano", EncoderConfig(max_tokens=254))
        assert theirs.name == f"{scheme}:nano"
        assert theirs.hash == LogEncoder.load(f"{scheme}:{SHIPPED}").hash
        assert np.allclose(theirs.encode(lines), ours, atol=1e-2) == (scheme == "st")  # hf: knows no whitening
    assert main(["export", "nano", "--onnx", "--out", str(tmp_path / "copy")]) == 0
    assert np.allclose(LogEncoder.load(tmp_path / "copy", backend="onnx").encode(lines), ours, atol=1e-2)
    with pytest.raises(UserError, match=r"no model\.onnx .*--out OTHER_FOLDER --onnx") as refused:
        LogEncoder.load("nano", backend="onnx")
    advised = str(refused.value).split("logfm ")[1].replace("OTHER_FOLDER", str(tmp_path / "advised")).split()
    assert main(advised) == 0
    assert (tmp_path / "advised" / "model.onnx").is_file()


def test_commands_need_no_encoder(tmp_path):
    log = write_log(tmp_path / "app.log", [*log_lines(80), "Jan  5 10:00:00 web1 app: segfault at 0 ip 7f error 4"])
    run("index", "build", log, "--index", tmp_path / "index")
    hits = orjson.loads(run("search", tmp_path / "index", log_lines(80)[7], "-k", 2, "--json").stdout)["hits"]
    assert hits[0]["text"] == log_lines(80)[7]
    document = orjson.loads(run("detect", log, "--top", 1, "--json").stdout)
    assert "segfault" in document["findings"][0]["text"]
    assert orjson.loads(run("explain", log_lines(1)[0], "--json").stdout)["mean_nats"] > 0
