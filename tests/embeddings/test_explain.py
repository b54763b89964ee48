"""Per-token surprise: the numbers, their place in the line, and that logs stay text in every output."""

import numpy as np
import pytest

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import Explanation, LogEncoder, TokenSurprise
from logfm.embeddings.explain import as_html, as_page, as_text, explain
from logfm.errors import UserError
from tests.embeddings.samples import log_lines

HOSTILE = "sshd: <script>alert(\"x\")</script> [bold]user[/bold] \x1b[31mred é€😀 &amp; 'q'"


def made(*tokens, text="ab cd"):
    return Explanation(text, [TokenSurprise(*token) for token in tokens], 1.0, False)


def test_the_tokens_tile_the_line(ours):
    line = log_lines(1)[0]
    found = explain(ours, line)
    assert "".join(line[token.start : token.end] for token in found.tokens) == line
    assert all(line[token.start : token.end] == token.token for token in found.tokens)
    assert not found.cut


def test_the_numbers_are_the_encoders(ours):
    line = log_lines(1)[0]
    model = ours.pretrained
    ids = model.tokenizer.encode_batch([line])[0]
    expected = model.masked_nll(ids)
    found = explain(ours, line)
    judged = [token.nats for token in found.tokens if token.nats is not None]
    assert np.allclose(judged, expected[~np.isnan(expected)], atol=1e-3)
    assert found.mean_nats == pytest.approx(np.mean(judged), abs=1e-3)
    delimiters = model.tokenizer.delimiter_mask[ids]
    assert [token.nats is None for token in found.tokens] == delimiters.tolist()


def test_a_line_longer_than_the_encoder_reads_is_said_to_be_cut(ours):
    found = explain(ours, " ".join(log_lines(40)))
    assert found.cut
    assert len(found.tokens) == ours.pretrained.max_tokens
    assert "only the beginning" in as_page(found)
    assert as_text(found).plain == found.text


def test_only_what_is_read_is_judged(encoder_folder):
    """Times and pids that no vector depends on surprise nobody."""
    line = f"{log_lines(1)[0]}  "
    reading = LogEncoder.load(encoder_folder, reads="message")
    message = reading.read([line])[0]
    found, alone = explain(reading, line), explain(reading, message)
    assert found.text == line
    assert "".join(line[token.start : token.end] for token in found.tokens) == message
    assert found.tokens[0].start == line.index("session")
    assert [(token.token, token.nats) for token in found.tokens] == [(one.token, one.nats) for one in alone.tokens]
    assert as_text(found).plain == line
    assert as_html(found).startswith('<code style="white-space:pre-wrap;overflow-wrap:anywhere">Jan  5 10:00:00 host')


def test_as_much_is_judged_as_is_read(encoder_folder):
    line = log_lines(1)[0]
    found = explain(LogEncoder.load(encoder_folder, EncoderConfig(max_tokens=5)), line)
    assert len(found.tokens) == 5
    assert found.cut


@pytest.mark.parametrize("line", ["", "   ", "--"])
def test_a_line_without_content(ours, line):
    found = explain(ours, line)
    assert found.mean_nats is None
    assert as_text(found).plain == line
    assert "no content tokens" in as_page(found)


def test_hostile_text_stays_text(ours):
    found = explain(ours, HOSTILE)
    page = as_page(found)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "[bold]" in as_text(found).plain
    assert "\x1b" not in as_text(found).plain
    import html
    import re

    shown = html.unescape(re.sub(r"<[^>]*>", "", as_html(found)))
    assert shown == HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


def test_a_character_of_several_tokens_is_shown_once_with_its_most_surprising_part():
    found = made(("\\xe2", 0, 1, 1.0), ("\\x82", 0, 1, 5.0), ("\\xac", 0, 1, 2.0), (" a", 1, 3, None), text="€ ab")
    assert as_text(found).plain == "€ ab"
    assert 'title="5.00 nats">€</span> ab' in as_html(found)


def test_the_colour_follows_the_surprise():
    found = as_html(made(("ab", 0, 2, 4.0), (" ", 2, 3, None), ("cd", 3, 5, 80.0)))
    assert 'rgba(220,38,38,0.50)" title="4.00 nats">ab</span> <span' in found
    assert 'rgba(220,38,38,1.00)" title="80.00 nats">cd' in found


def test_only_our_encoders_explain(minilm):
    with pytest.raises(UserError, match="trained by logfm"):
        explain(minilm, "a line")
    with pytest.raises(UserError, match="trained by logfm"):
        explain(LogEncoder.load("tfidf"), "a line")
