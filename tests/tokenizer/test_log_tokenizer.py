"""Text to ids and back: nothing is lost, nothing becomes special, every id has an exact class."""

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.tokenizer import LogTokenizer, escape, unescape

ALNUM = set(string.ascii_letters + string.digits + "_")
HARD = [
    "",
    " ",
    "  \r\n\t ",
    "192.168.0.1:443 -> [fe80::1%eth0]:22 10.0.0.0/8",
    "SHA256=9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
    "{4a3b2c1d-0000-4a3b-9000-0123456789ab}",
    "powershell -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA",
    "f\0a\0i\0l\0e\0d\0",
    "\ufeffMay 1",
    "\x1b[31mroot\x1b[0m\x07\x08\x7f",
    "".join(map(chr, range(256))),
    "😀👨‍👩‍👧‍👦 jörg Ольга 日本語 \U0010ffff",
    "[MASK] [CLS][SEP] [PAD][UNK] [MASK]4867[MASK]",
    "no\u00a0break \u3000 \u2028 line",
    "\ufffd\uef80\uefff",
]


@pytest.mark.parametrize("text", HARD)
def test_nothing_is_lost(tokenizer: LogTokenizer, text: str) -> None:
    ids = tokenizer.encode_batch([text])[0]
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert (ids >= 5).all()
    assert tokenizer.byte_lengths[ids].sum() == len(text.encode())


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=300, deadline=None)
def test_any_text_survives(tokenizer: LogTokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == text


@given(st.text(st.sampled_from("ab1_é😀 \t\n\0.,:;={}[]\"'-/\\\x7f\x80")))
@settings(max_examples=500, deadline=None)
def test_mask_is_exact_for_every_token_of_any_text(tokenizer: LogTokenizer, text: str) -> None:
    ids = tokenizer.encode_batch([text])[0]
    for token, (start, end) in zip(ids, tokenizer.spans(text), strict=True):
        span = text[start:end]
        body = span[1:] if len(span) > 1 and span[0] == " " else span
        classes = {character not in ALNUM and ord(character) < 0x80 for character in body}
        assert classes == {bool(tokenizer.delimiter_mask[token])}


def test_mask_agrees_with_the_bytes_of_every_id(tokenizer: LogTokenizer) -> None:
    content = {ord(character) for character in ALNUM} | set(range(0x80, 0x100))
    for index, piece in enumerate(tokenizer._pieces):
        body = piece[1:] if len(piece) > 1 and piece[:1] == b" " else piece
        assert {byte not in content for byte in body} == ({bool(tokenizer.delimiter_mask[index])} if piece else set())
    assert 0 < tokenizer.delimiter_mask.sum() < tokenizer.vocab_size
    assert not tokenizer.delimiter_mask[:5].any()
    assert tokenizer.byte_lengths[:5].tolist() == [0] * 5 and (tokenizer.byte_lengths[5:] > 0).all()


def test_one_leading_space_belongs_to_what_follows(tokenizer: LogTokenizer) -> None:
    for piece in tokenizer._pieces:
        if not piece.isspace():
            assert b" " not in piece[1:]
    ids = tokenizer.encode_batch(["root  root\t root"])[0]
    assert tokenizer.tokens(ids) == ["root", " ", " root", "\t", " root"]


def test_golden_case(tokenizer: LogTokenizer) -> None:
    text = "sudo: root : TTY=unknown ; PWD=/ ; USER=root ; COMMAND=/bin/ip netns identify 4867"
    tokens = [token.strip() for token in tokenizer.tokens(tokenizer.encode_batch([text])[0])]
    whole = ["sudo", "root", "TTY", "unknown", "PWD", "USER", "COMMAND", "bin", "ip", "netns", "identify"]
    assert [token for token in tokens if token in whole] == [
        "sudo", "root", "TTY", "unknown", "PWD", "USER", "root", "COMMAND", "bin", "ip", "netns", "identify",
    ]  # fmt: skip


def test_text_of_special_tokens_stays_text(tokenizer: LogTokenizer) -> None:
    assert tokenizer.tokens([tokenizer.cls_id, tokenizer.mask_id]) == ["[CLS]", "[MASK]"]
    assert tokenizer.decode([tokenizer.cls_id, tokenizer.pad_id]) == ""
    ids = tokenizer.encode_batch(["x[MASK]y"])[0]
    assert tokenizer.mask_id not in ids and tokenizer.decode(ids) == "x[MASK]y"


def test_spans_cover_the_text(tokenizer: LogTokenizer) -> None:
    text = "jörg 😀\udc80 [MASK] x\ud800!"
    spans = tokenizer.spans(text)
    assert len(spans) == len(tokenizer.encode_batch([text])[0])
    assert {place for start, end in spans for place in range(start, end)} == set(range(len(text)))
    assert spans[0][0] == 0 and spans[-1] == (len(text) - 1, len(text))


def test_a_line_of_a_megabyte(tokenizer: LogTokenizer) -> None:
    for unit in ("A", "f3", " ", "\0", "=", "😀", "[MASK]", "\n "):
        text = unit * (2**20 // len(unit.encode()))
        assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == text


def test_batches_equal_single_texts(tokenizer: LogTokenizer) -> None:
    together = tokenizer.encode_batch([*HARD, "\udcff"])
    for text, ids in zip([*HARD, "\udcff"], together, strict=True):
        assert np.array_equal(tokenizer.encode_batch([text])[0], ids)
    assert tokenizer.encode_batch([]) == []


def test_decode_of_a_cut_character(tokenizer: LogTokenizer) -> None:
    ids = tokenizer.encode_batch(["Ж"])[0]
    assert len(ids) == 2
    assert tokenizer.decode(ids[:1]) == "\ufffd"
    assert tokenizer.tokens(ids) == ["\\xd0", "\\x96"]


@pytest.mark.parametrize("index", [-1, 1024, 10**12])
def test_ids_beyond_the_vocabulary_are_refused(tokenizer: LogTokenizer, index: int) -> None:
    for ids in ([5, index], np.array([5, index])):
        for read in (tokenizer.decode, tokenizer.tokens):
            with pytest.raises(IndexError):
                read(ids)


@given(st.binary())
@settings(max_examples=300, deadline=None)
def test_stray_bytes_survive(tokenizer: LogTokenizer, data: bytes) -> None:
    text = escape(data)
    text.encode("utf-8")
    assert unescape(tokenizer.decode(tokenizer.encode_batch([text])[0])) == data


def test_escape_is_documented() -> None:
    assert escape(b"ok \xff\x80") == "ok \uefff\uef80"
    assert escape("jörg".encode()) == "jörg"
    assert escape("\uef80".encode()) == "\uefee\uefbe\uef80"
    assert unescape(escape("\uef80".encode())) == "\uef80".encode()


def test_lone_surrogates_are_escaped(tokenizer: LogTokenizer) -> None:
    text = b"a\xff".decode("utf-8", "surrogateescape")
    assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == escape(b"a\xff")
    assert unescape(tokenizer.decode(tokenizer.encode_batch(["\ud800"])[0])) == b"\xed\xa0\x80"
