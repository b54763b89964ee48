"""The report's figures, recomputed from the ids."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import LogTokenizer, report
from logfm.tokenizer.rivals import Rival, opened

MakeCorpus = Callable[..., Corpus]
LINES = ["sudo: root : TTY=unknown", "<script>alert(1)</script> root", "=cmd|'/c calc'!A1"]


@pytest.fixture
def rival() -> Rival:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Rival("words", backend)


def test_report(tokenizer: LogTokenizer, make_corpus: MakeCorpus, rival: Rival, tmp_path: Path) -> None:
    corpus = make_corpus([(LINES[0], "linux"), (LINES[1], "web"), (LINES[2], "web")])
    report(tokenizer, corpus, tmp_path / "r", [rival])
    with (tmp_path / "r" / "report.csv").open(newline="") as stream:
        rows = {(row["source"], row["tokenizer"]): row for row in csv.DictReader(stream)}
    assert set(rows) == {(s, t) for s in ("linux", "web", "(all)") for t in ("logfm", "words")}
    ids = tokenizer.encode_batch(LINES)
    ours = rows["(all)", "logfm"]
    tokens = sum(map(len, ids))
    assert int(ours["events"]) == 3 and int(ours["bytes"]) == sum(map(len, LINES))
    assert float(ours["tokens_per_event"]) == pytest.approx(tokens / 3)
    assert float(ours["bytes_per_token"]) == pytest.approx(sum(map(len, LINES)) / tokens)
    assert float(ours["delimiter_share"]) == pytest.approx(
        sum(int(tokenizer.delimiter_mask[i].sum()) for i in ids) / tokens
    )
    assert float(ours["single_byte_share"]) == pytest.approx(
        sum(int((tokenizer.byte_lengths[i] == 1).sum()) for i in ids) / tokens
    )
    assert float(ours["vocabulary_used"]) == pytest.approx(
        len({int(index) for i in ids for index in i}) / tokenizer.vocab_size
    )
    assert rows["linux", "words"]["tokens"] == "4"
    assert float(rows["linux", "words"]["ratio"]) == pytest.approx(len(ids[0]) / 4)


def test_log_content_is_not_markup_or_formula(tokenizer: LogTokenizer, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus([(LINES[1], "<b>source</b>")])
    report(tokenizer, corpus, tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<b>source" not in page and "&lt;b&gt;source" in page
    with (tmp_path / "r" / "longest_tokens.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(row["token"].startswith('"') for row in rows)
    lengths = [int(row["bytes"]) for row in rows]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] == tokenizer.byte_lengths.max()


def test_page_says_what_was_measured(tokenizer: LogTokenizer, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus([("a" * 1234, "linux")])
    report(tokenizer, corpus, tmp_path / "r")
    page = (tmp_path / "r" / "report.html").read_text()
    assert tokenizer.hash in page and corpus.manifest.hash in page and "1,234 bytes" in page
    assert page.index("<td>(all)") < page.index("<td>linux")


def test_empty_corpus(tokenizer: LogTokenizer, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no events"):
        report(tokenizer, make_corpus([]), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_rivals_of_one_name_are_refused(
    tokenizer: LogTokenizer, make_corpus: MakeCorpus, rival: Rival, tmp_path: Path
) -> None:
    corpus = make_corpus([(LINES[0], "linux")])
    for rivals in ([rival, rival], [Rival("logfm", rival.backend)]):
        with pytest.raises(UserError, match="have the name"):
            report(tokenizer, corpus, tmp_path / "r", rivals)
    assert not (tmp_path / "r").exists()


def test_another_rival_of_the_same_name_is_another_report(
    tokenizer: LogTokenizer, make_corpus: MakeCorpus, rival: Rival, tmp_path: Path
) -> None:
    corpus = make_corpus([(LINES[0], "linux")])
    first = report(tokenizer, corpus, tmp_path / "r", [rival])
    assert report(tokenizer, corpus, tmp_path / "r", [rival]) == first
    other = Tokenizer(models.WordLevel({"[UNK]": 0, "root": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match="another"):
        report(tokenizer, corpus, tmp_path / "r", [Rival("words", other)])


def test_rivals_are_opened_whole(tmp_path: Path, rival: Rival) -> None:
    rival.backend.enable_truncation(2)
    rival.backend.enable_padding(length=9)
    rival.backend.save(str(tmp_path / "tokenizer.json"))
    assert opened("words", tmp_path / "tokenizer.json").counts(["a b c d", ""]).tolist() == [4, 0]
    with pytest.raises(UserError, match="cannot read"):
        opened("none", tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(UserError, match=r"not a tokenizer\.json"):
        opened("broken", tmp_path / "broken.json")
