"""BM25 over logs: the terms, the scores, and that segments compare."""

import math

import numpy as np
import pytest

from logfm.embeddings import bm25
from logfm.embeddings.bm25 import Words, WordWriter, best, terms
from logfm.embeddings.nearest import Allowed
from tests.embeddings.samples import log_lines

LINES = [
    "Jan  5 10:00:02 web1 kernel: Out of memory: Killed process 4242 (java)",
    "Failed password for admin from 203.0.113.9 port 4711 ssh2",
    "Failed password for root from 203.0.113.90 port 22 ssh2",
    "",
    "-- ! --",
    "failed failed FAILED",
]


def written(folder, *parts):
    """A segment for each list of texts."""
    segments = []
    for number, texts in enumerate(parts):
        place = folder / str(number)
        place.mkdir(parents=True)
        writer = WordWriter(place)
        writer.add(texts)
        writer.close()
        segments.append(Words.open(place, len(texts)))
    return segments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 203.0.113.9:22,", {"203.0.113.9:22", "203.0.113.9", "203", "22"}),
        ("bytes from [2001:db8::1]:443 ok.", {"2001:db8::1", "443", "ok"}),
        ("open C:\\Windows\\System32\\cmd.exe now", {"c:\\windows\\system32\\cmd.exe", "cmd.exe", "windows", "exe"}),
        (
            '{"Image":"C:\\\\Windows\\\\cmd.exe","Message":"a\\r\\n\\tLogon"}',
            {"c:\\windows\\cmd.exe", "image", "logon", "cmd.exe"},
        ),
        ("GET /var/log/auth.log?id=1 user@host.example", {"var/log/auth.log", "auth.log", "user", "host.example"}),
        ("guid {4D36E96E-E325-11CE-BFC1-08002BE10318}", {"4d36e96e-e325-11ce-bfc1-08002be10318", "e325"}),
        ("IP 10.0.0.5.443 > 10.0.0.6.51000", {"10.0.0.5", "10.0.0.6", "10.0.0.5.443"}),
        ('src=10.0.0.5;dst="host-7" Gr\u00fc\u00dfe', {"10.0.0.5", "host-7", "gr\u00fc\u00dfe"}),
    ],
)
def test_terms_are_wholes_and_parts(text, expected):
    assert expected <= set(terms(text))


def test_what_a_person_asks_for_is_what_a_log_holds():
    """A path is one term whether the log is JSON or not, with and without its last colon."""
    asked = set(terms("C:\\Users\\bob\\evil.exe"))
    assert asked == set(terms("c:\\users\\bob\\evil.exe:"))
    assert "c:\\users\\bob\\evil.exe" in set(terms('{"path": "C:\\\\Users\\\\bob\\\\evil.exe"}'))
    assert terms("... -- () \\ ::") == []


@pytest.mark.parametrize("text", ["a" * 5_000_000, "a." * 500_000, "\\" * 100_000, "\ud800 x", "{" + '\\"' * 50_000])
def test_hostile_text_gives_terms(tmp_path, text):
    found, _ = best(written(tmp_path, [text, "x"]), "x", 5, [None])
    assert len(found) >= 1


def test_the_scores_are_those_of_lucene(tmp_path):
    texts = LINES + log_lines(40)
    query = "failed password 203.0.113.9"
    scores, ids = best(written(tmp_path, texts), query, 100, [None])
    documents = [terms(text) for text in texts]
    average = sum(map(len, documents)) / len(documents)
    expected = np.zeros(len(texts))
    for term in set(terms(query)):
        holding = sum(term in document for document in documents)
        rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for row, document in enumerate(documents):
            count = document.count(term)
            expected[row] += rarity * count / (count + 1.5 * (0.25 + 0.75 * len(document) / average))
    assert ids[0] == 1
    assert sorted(ids) == np.flatnonzero(expected).tolist()
    assert np.allclose(scores, expected[ids], rtol=1e-5)
    assert list(scores) == sorted(scores, reverse=True)


def test_an_exact_address_beats_its_neighbours(tmp_path):
    segments = written(tmp_path, LINES)
    assert best(segments, "203.0.113.9", 1, [None])[1].tolist() == [1]
    assert best(segments, "203.0.113.90", 1, [None])[1].tolist() == [2]
    assert best(segments, "198.51.100.77", 5, [None])[1].tolist() == []
    assert best(segments, "?!", 5, [None])[1].tolist() == []


def test_segments_and_blocks_compare(tmp_path, monkeypatch):
    """How rare a term is counts over the whole index: a small segment gives no event a better place."""
    lines = [line.partition("]: ")[2] for line in log_lines(300)]
    whole = written(tmp_path / "whole", lines)
    parts = written(tmp_path / "parts", lines[:290], lines[290:])
    monkeypatch.setattr(bm25, "_BLOCK", 500)
    writer = WordWriter(tmp_path)
    for start in range(0, 300, 50):
        writer.add(lines[start : start + 50])
    writer.close()
    blocks = [Words.open(tmp_path, 300)]
    assert len(blocks[0]._blocks) == 6
    for query in (lines[3], "mallory refused", lines[295].split()[-1]):
        scores, ids = best(whole, query, 300, [None])
        for other, allowed in ((parts, [None, None]), (blocks, [None])):
            found, numbers = best(other, query, 300, allowed)
            assert sorted(numbers) == sorted(ids)
            assert np.allclose(np.sort(found), np.sort(scores), rtol=0.05)
            assert numbers[0] == ids[0] or found[0] == pytest.approx(found[list(numbers).index(ids[0])], rel=0.05)


def test_only_allowed_events_are_found(tmp_path):
    segments = written(tmp_path, LINES[:2], LINES[2:])
    mask = np.array([True, False, False, False])
    assert best(segments, "failed", 9, [None, Allowed(mask)])[1].tolist() == [1, 2]
    assert best(segments, "failed", 9, [Allowed(np.zeros(2, bool)), None])[1].tolist() == [5, 2]


def test_fewer_hits_are_the_beginning_of_more(tmp_path):
    """Lines of equal scores are cut in the order of their ids, in each segment and over all."""
    lines = [f"session {'opened' if number % 3 else 'closed for root'}" for number in range(60)]
    segments = written(tmp_path, lines[:37], lines[37:])
    most = best(segments, "session opened", 60, [None, None])[1].tolist()
    assert len(most) == 60
    for k in range(1, 60):
        assert best(segments, "session opened", k, [None, None])[1].tolist() == most[:k]


def test_nothing_is_pickled(tmp_path):
    written(tmp_path, LINES, ["", "!"])
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".npy"}
    assert len(files) == 8
    assert all(np.load(path, allow_pickle=False).dtype.kind in "uif" for path in files)
