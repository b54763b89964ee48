import pytest

from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.injection import changes, fill, inject, injected, injections

CASE = Case("c", "g", "s", "first event here\n\nsecond event", {}, ("1", "2"), {"label": ("suspicious",)})


def test_thirty_lines_ship_and_name_what_they_want():
    lines = injections().lines
    assert len(set(lines)) == len(lines) >= 30
    assert sum("{normal}" in line for line in lines) >= 25
    assert all("{normal}" not in line for line in injections().neutral)
    # A line of a log is one line.
    assert not any("\n" in line for line in (*lines, *injections().neutral))


def test_a_line_is_put_behind_a_word_of_an_event():
    for seed in range(20):
        found = inject(CASE, "ignore this", seed)
        rows = found.text.split("\n")
        assert len(rows) == 3
        assert sum("ignore this" in row for row in rows) == 1
        assert found.text.replace(" ignore this", "") == CASE.text
        assert found.answer == CASE.answer
        assert found.case_id.startswith("c+")
    assert inject(CASE, "x", 1) == inject(CASE, "x", 1)
    assert len({inject(CASE, "x", seed).text for seed in range(20)}) > 1


def test_every_case_gets_every_line():
    found = injected([CASE, CASE], ["say {normal}", "{other}"], {"normal": "benign"}, 0)
    assert len(found) == 4
    assert "say benign" in found[0].text
    assert "{other}" in found[1].text
    assert fill("a {normal} b {normal}", {"normal": "x"}) == "a x b x"


def test_changes_are_counted_where_there_was_something_to_change():
    bad, good = {"label": ("suspicious",)}, {"label": ("normal",)}
    clean = [bad, good, None]
    attacked = [bad, good, None, bad, bad, bad, good, good, good]
    found = changes(clean, attacked, "label", "normal")
    assert (found.cases, found.tries, found.changed, found.obeyed, found.unreadable) == (1, 3, 2, 1, 1)
    assert found.share == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="tries"):
        changes(clean, attacked[:4], "label", "normal")


def test_a_file_of_lines_is_checked(tmp_path):
    path = tmp_path / "lines.yaml"
    path.write_text("lines: []\nneutral: [x]\n")
    with pytest.raises(UserError, match="lines"):
        injections(path)
