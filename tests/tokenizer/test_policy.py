"""The named choices of where text is cut, each seen on one line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.schema.tokenizer import PolicyConfig
from logfm.tokenizer.pieces import piece_bytes
from logfm.tokenizer.policy import delimiter_bytes, is_delimiter
from logfm.tokenizer.specification import pre_tokenizer

POLICIES = [
    PolicyConfig(),
    *(PolicyConfig(digits=value) for value in ("runs", "triplets", "single")),
    *(PolicyConfig(hex=value, guid="quads", base64="octets") for value in ("quads", "pairs")),
    *(PolicyConfig(case="camel", digits=value) for value in ("whole", "triplets")),
    PolicyConfig(whitespace="single", underscore="delimiter"),
    PolicyConfig(underscore="delimiter", digits="single", hex="quads", guid="quads", base64="octets", case="camel"),
]


def cut(policy: PolicyConfig, text: str) -> list[str]:
    return [text[start:end] for _, (start, end) in pre_tokenizer(policy).pre_tokenize_str(text)]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@given(text=st.text(st.sampled_from("aZfF019_é😀 \t\n\0.:=-{\x7f")))
@settings(max_examples=150, deadline=None)
def test_pieces_are_whole_and_of_one_class(policy: PolicyConfig, text: str) -> None:
    pieces = [piece_bytes(piece) for piece, _ in pre_tokenizer(policy).pre_tokenize_str(text)]
    assert b"".join(pieces) == text.encode()
    for piece in pieces:
        is_delimiter(piece, policy)


@pytest.mark.parametrize(
    ("choice", "text", "pieces"),
    [
        ({"digits": "whole"}, "port 4867 eth10x", ["port", " 4867", " eth10x"]),
        ({"digits": "runs"}, "port 4867 eth10x", ["port", " 4867", " eth", "10", "x"]),
        ({"digits": "triplets"}, "port 4867 eth10x", ["port", " 486", "7", " eth", "10", "x"]),
        ({"digits": "single"}, "a 48", ["a", " 4", "8"]),
        (
            {"hex": "quads"},
            "id deadbeef0123 face decades",
            ["id", " dead", "beef", "0123", " face", " decades"],
        ),
        ({"hex": "pairs"}, "0a1b2c3d", ["0a", "1b", "2c", "3d"]),
        ({"hex": "quads"}, "20240501 12345678", ["20240501", " 12345678"]),
        (
            {"guid": "quads"},
            "{01234567-89ab-cdef-0123-456789abcdef}",
            ["{", "0123", "4567", "-", "89ab", "-", "cdef", "-", "0123", "-", "4567", "89ab", "cdef", "}"],
        ),
        ({"base64": "octets"}, "A" * 33, ["A" * 8, "A" * 25]),
        ({"base64": "octets"}, "A" * 31, ["A" * 31]),
        (
            {"case": "camel"},
            "EventID ParentProcessName TTYName",
            ["Event", "ID", " Parent", "Process", "Name", " TTY", "Name"],
        ),
        ({"case": "kept"}, "EventID", ["EventID"]),
        ({"whitespace": "runs"}, "a\r\n  b", ["a", "\r\n", " ", " b"]),
        ({"whitespace": "single"}, "a\r\n  b", ["a", "\r", "\n", " ", " b"]),
        ({"underscore": "content"}, "svc_backup", ["svc_backup"]),
        ({"underscore": "delimiter"}, "svc_backup", ["svc", "_", "backup"]),
        (
            {},
            '{"User":"NT AUTHORITY\\\\SYSTEM"}',
            ['{"', "User", '":"', "NT", " AUTHORITY", "\\\\", "SYSTEM", '"}'],
        ),
        ({}, "A" * 130, ["A" * 64, "A" * 64, "AA"]),
    ],
)
def test_choices(choice: dict[str, str], text: str, pieces: list[str]) -> None:
    assert cut(PolicyConfig(**{**_NEUTRAL, **choice}), text) == pieces


_NEUTRAL = {
    "digits": "whole",
    "hex": "plain",
    "guid": "plain",
    "base64": "plain",
    "case": "kept",
    "whitespace": "runs",
    "underscore": "content",
}


def test_delimiters_are_ascii_only() -> None:
    assert delimiter_bytes(PolicyConfig(underscore="content")) == set(range(128)) - set(
        b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    )
    assert ord("_") in delimiter_bytes(PolicyConfig(underscore="delimiter"))


@pytest.mark.parametrize("token", [b"a:", b":a", b"\x80 ", b"a b", b"  a"])
def test_mixed_tokens_are_refused(token: bytes) -> None:
    with pytest.raises(ValueError, match="mixes"):
        is_delimiter(token, PolicyConfig())


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_hostile_runs_take_linear_time(policy: PolicyConfig) -> None:
    for unit in ("a", "f0", "0", "Ab", " ", "\n", "=", "-0123", "é"):
        text = unit * (300_000 // len(unit))
        assert "".join(cut(policy, text)) == text
