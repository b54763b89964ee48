import shutil

import numpy as np
import pytest

from logfm.artifacts import produce, read_manifest
from logfm.corpus import build
from logfm.evaluation.suite.cells import subset
from logfm.evaluation.suite.contamination import seen
from logfm.evaluation.suite.contestants import Pretrained, open_contestants
from logfm.evaluation.suite.runner import CONTAMINATION, run
from logfm.evaluation.suite.task import UNSEEN
from logfm.pretrain.shipped import SHIPPED
from tests.evaluation.suite.fakes import Lengths, data_of, lines, measuring, registry, spec


def artifact(folder, stage, **inputs):
    with produce(folder, stage=stage, config={}, inputs=inputs) as work:
        (work.path / "weights").write_text(f"{stage} {inputs}")
    return read_manifest(folder).hash


@pytest.fixture
def trained(tmp_path):
    """A run as the quickstart leaves it: corpus, tokens, run and encoder side by side; half of the lines trained on."""
    root = tmp_path / "trained"
    log = tmp_path / "app.log"
    log.write_text("\n".join(line for line in lines(40) if "alpha" in line or "beta" in line or "gamma" in line))
    build([log], root / "corpus", workers=1)
    corpus = read_manifest(root / "corpus").hash
    tokenizer = artifact(root / "tokenizer", "tokenizer", corpus=corpus)
    tokens = artifact(root / "tokens", "tokens", corpus=corpus, tokenizer=tokenizer)
    pretrained = artifact(root / "run", "pretrain", tokens=tokens, tokenizer=tokenizer)
    artifact(root / "encoder", "encoder", run=pretrained)
    return root


TEXTS = ["service alpha did thing 98765", "service delta did thing 1", "something else 5"]


def test_hashes_lead_to_the_index(trained):
    assert seen(Pretrained("a", str(trained / "encoder")), TEXTS).tolist() == [True, False, False]
    artifact(trained / "tuned", "pretrain", start=read_manifest(trained / "encoder").hash,
             tokens=read_manifest(trained / "tokens").hash)  # fmt: skip
    artifact(trained / "second", "encoder", run=read_manifest(trained / "tuned").hash)
    assert seen(Pretrained("a", str(trained / "second")), TEXTS).tolist() == [True, False, False]


def test_what_nano_was_trained_on_is_known_by_its_name():
    if not SHIPPED.is_dir():
        pytest.skip("this checkout has no nano")
    assert seen(Pretrained("a", "nano"), TEXTS).tolist() == [False, False, False]


def test_nobody_knows_where_a_link_is_missing(trained, tmp_path):
    shutil.copytree(trained / "encoder", tmp_path / "moved" / "encoder")
    assert seen(Pretrained("a", str(tmp_path / "moved" / "encoder")), TEXTS) is None
    artifact(trained / "continued", "pretrain", start="of an encoder that is gone",
             tokens=read_manifest(trained / "tokens").hash)  # fmt: skip
    artifact(trained / "third", "encoder", run=read_manifest(trained / "continued").hash)
    assert seen(Pretrained("a", str(trained / "third")), TEXTS) is None
    assert seen(Pretrained("a", "hf:some/model"), TEXTS) is None


def test_an_index_in_the_folder_is_enough(trained, tmp_path):
    shutil.copytree(trained / "encoder", tmp_path / "alone")
    shutil.copy(trained / "corpus" / "templates.parquet", tmp_path / "alone")
    assert seen(Pretrained("a", str(tmp_path / "alone")), TEXTS).tolist() == [True, False, False]


def test_what_is_not_trained_has_seen_nothing():
    (tfidf,) = open_contestants(["tfidf"], None)
    assert seen(tfidf, TEXTS).tolist() == [False, False, False]


def test_tasks_on_events_are_scored_without_what_any_encoder_knows(tmp_path, own, monkeypatch):
    def known(contestant, texts):
        return np.array(["alpha" in text and contestant.name == "own_encoders:one" for text in texts])

    monkeypatch.setattr("logfm.evaluation.suite.runner.seen", known)
    tasks = [
        measuring("events", lambda vectors, _: vectors[:, 0], by_event=True),
        measuring("sequences", lambda vectors, _: vectors[:, 0]),
    ]
    uris = [own("one", Lengths("one")), own("two", Lengths("two"))]
    rows = run(registry(tasks, baselines=()), "small", uris, tmp_path, seeds=1)
    counts = {(row.task, row.encoder, row.condition): row.count for row in rows if row.metric == "score"}
    names = ("own_encoders:one", "own_encoders:two")
    expected = {("sequences", name, ""): 24 for name in names}
    for name in names:
        expected |= {("events", name, ""): 24, ("events", name, UNSEEN): 20}
    assert counts == expected
    parts = {row.condition: row.data_hash for row in rows if row.task == "events"}
    assert parts[""] != parts[UNSEEN]
    shares = {row.encoder: row.value for row in rows if row.task == CONTAMINATION}
    assert shares == {"own_encoders:one": pytest.approx(4 / 24), "own_encoders:two": 0.0}


def test_a_part_of_a_data_set_has_all_of_its_columns():
    whole = data_of(spec("lines"))
    part = subset(whole, np.array([row % 3 == 0 for row in range(24)]))
    assert part.texts == whole.texts[::3] and part.templates == whole.templates[::3]
    assert part.labels.tolist() == whole.labels[::3].tolist()
    assert part.groups is None and part.spec == whole.spec and part.hash != whole.hash
