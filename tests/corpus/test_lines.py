import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.corpus.lines import encoding_of, split_lines
from logfm.corpus.streams import BrokenInput, ChunkStream


def split(data: bytes, size: int, limit: int = 1 << 20, encoding: str = "utf-8", start: int = 0):
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    return list(split_lines(ChunkStream(chunks), encoding, start, limit))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"").rstrip(b"\r"))), st.integers(1, 9))
def test_lines_and_offsets_do_not_depend_on_the_chunks(lines, size):
    data = b"\n".join(lines)
    found = split(data, size)
    assert [line for _, line, _ in found] == [line for line in lines if line]
    assert all(data[offset : offset + len(line)] == line for offset, line, _ in found)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), st.integers(1, 9))
def test_utf16_lines_and_offsets_lead_back_to_the_bytes(lines, size):
    data = "\n".join(lines).encode("utf-16-le")
    for offset, line, _ in split(data, size, encoding="utf-16-le"):
        raw = line.decode().encode("utf-16-le")
        assert data[offset : offset + len(raw)] == raw


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_an_overlong_line_is_reported_and_the_next_one_found(size):
    data = b"first\n" + b"x" * 1000 + b"\nlast\r\n"
    assert split(data, size, limit=300) == [
        (0, b"first", b""),
        (6, None, b"x" * 256),
        (1007, b"last", b""),
    ]


def test_a_broken_stream_gives_its_lines_and_then_where_it_broke():
    def chunks():
        yield b"one\ntw"
        raise BrokenInput("gone")

    found = []
    with pytest.raises(BrokenInput) as caught:
        found.extend(split_lines(ChunkStream(chunks()), "utf-8", 0, 100))
    found = []
    try:
        for line in split_lines(ChunkStream(chunks()), "utf-8", 0, 100):
            found.append(line)
    except BrokenInput as error:
        assert (error.offset, error.excerpt) == (4, b"tw")
    assert found == [(0, b"one", b"")]
    assert caught.value.reason == "gone"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xef\xbb\xbfabc", ("utf-8", 3)),
        ("abcdefgh".encode("utf-16"), ("utf-16-le", 2)),
        ("abcdefgh".encode("utf-16-be"), ("utf-16-be", 0)),
        ("abcdefgh".encode("utf-16-le"), ("utf-16-le", 0)),
        (b"abc\0\0def and so on", ("utf-8", 0)),
        (b"", ("utf-8", 0)),
    ],
)
def test_encoding(head, expected):
    assert encoding_of(head) == expected
