"""Encoders behind a real local server, with everything it can do wrong."""

import socket
import ssl
import threading
import urllib.error
from types import SimpleNamespace

import numpy as np
import orjson
import pytest

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.remote import KEY_VARIABLE, RemoteBackend
from logfm.errors import LogfmError, UserError
from tests.embeddings.samples import answer, right_answer


def open_server(server, **options):
    """An encoder on the server that notes its waits instead of waiting."""
    waits = []
    config = EncoderConfig(**options)
    backend = RemoteBackend(server.url, "m", config, wait=waits.append)
    return LogEncoder(f"{server.url}#m", backend, config), waits


HANG, TRICKLE, CLOSE = "hang", "trickle", "close"


@pytest.fixture
def raw():
    """A server that sends the first of `answers` to every request as it is, and then does what the second says."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = SimpleNamespace(url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1/embeddings", answers=[])
    over, held = threading.Event(), []

    def serve():
        while not over.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            # Head and body may come apart, and closing with some of it unread would reset the connection.
            request = b""
            while not request.endswith(b"}") and (more := connection.recv(1 << 16)):
                request += more
            connection.sendall(server.answers[0])
            held.append(connection)
            if server.answers[1] == CLOSE:
                connection.close()
            while server.answers[1] == TRICKLE:
                try:
                    connection.sendall(b" ")
                except OSError:
                    break
                if over.wait(0.02):
                    break

    thread = threading.Thread(target=serve)
    thread.start()
    yield server
    over.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()
    for connection in held:
        connection.close()


def data(*vectors):
    rows = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return orjson.dumps({"data": rows})


def test_it_speaks_the_openai_contract(server, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    encoder = LogEncoder.load(f"{server.url}#some/model")
    found = encoder.encode(["a", "bb", "a"])
    assert found.tolist() == [[1, 1, 2], [2, 1, 2], [1, 1, 2]]
    assert server.requests[-1] == {"model": "some/model", "input": ["a", "bb"], "encoding_format": "float"}
    assert server.headers[-1]["Authorization"] == "Bearer secret"
    assert encoder.dim == 3
    assert "secret" not in repr(encoder)


def test_no_key_is_sent_without_one(server, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    LogEncoder.load(f"{server.url}#m").encode(["a"])
    assert "Authorization" not in server.headers[-1]


def test_requests_keep_to_their_limits(server):
    encoder, _ = open_server(server, http_texts=4, http_bytes=20)
    texts = [f"{number:05}" for number in range(9)] + ["x" * 50]
    found = encoder.encode(texts)
    sent = [request["input"] for request in server.requests if request["input"] != ["logfm"]]
    assert [len(batch) for batch in sent] == [4, 4, 1, 1]
    assert found[:, 0].tolist() == [5.0] * 9 + [50.0]


def test_what_may_pass_is_tried_again_with_longer_waits(server):
    encoder, waits = open_server(server)
    server.answers = [answer(503), answer(500), answer(429, Retry_After="7"), right_answer]
    assert encoder.dim == 3
    assert waits == [1.0, 2.0, 7.0]


def test_an_absurd_retry_after_is_bounded(server):
    encoder, waits = open_server(server)
    server.answers = [answer(429, Retry_After="1000000"), answer(429, Retry_After="soon"), right_answer]
    assert encoder.dim == 3
    assert waits == [60.0, 2.0]


@pytest.mark.parametrize("header", ["nan", "inf", "-inf", "-5"])
def test_a_retry_after_that_is_no_time_is_passed_over(server, header):
    encoder, waits = open_server(server)
    server.answers = [answer(503, Retry_After=header), right_answer]
    assert encoder.dim == 3
    assert waits == [0.0 if header == "-5" else 1.0]


def test_an_error_that_breaks_off_is_tried_again(raw):
    encoder, waits = open_server(raw, http_timeout=0.2, http_attempts=2)
    raw.answers = [b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nso", HANG]
    with pytest.raises(LogfmError, match=r"answered 503.*2 times in a row"):
        encoder.encode(["a"])
    assert waits == [1.0]


@pytest.mark.parametrize("words", ["timed out", "more expected"])
def test_an_answer_that_trickles_or_is_cut_is_tried_again(raw, words):
    encoder, waits = open_server(raw, http_timeout=0.2, http_attempts=2)
    raw.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[", TRICKLE if words == "timed out" else CLOSE]
    with pytest.raises(LogfmError, match=rf"gave no answer \(.*{words}.*2 times in a row"):
        encoder.encode(["a"])
    assert waits == [1.0]


def test_an_answer_without_end_is_refused(server, monkeypatch):
    monkeypatch.setattr("logfm.embeddings.remote._BYTES_A_TEXT", 1000)
    encoder, _ = open_server(server)
    server.answers = [answer(200, b" " * 200_000)]
    with pytest.raises(LogfmError, match="gave more than 2000 bytes"):
        encoder.encode(["a"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:99999/v1/embeddings", "no such port"),
        ("http://127.0.0.1:x/v1/embeddings", "no such port"),
        ("http://:80/v1/embeddings", "no host"),
        ("http://[::1/v1/embeddings", "no host"),
        ("http://127.0.0.1/v1/\N{LATIN SMALL LETTER E WITH ACUTE}", "percent-encoded"),
        ("http://127.0.0.1/v1 /embeddings", "percent-encoded"),
        ("http://127.0.0.1/v1\n/embeddings", "percent-encoded"),
    ],
)
def test_an_address_that_is_none_is_the_users_mistake(address, words):
    with pytest.raises(UserError, match=words):
        LogEncoder.load(f"{address}#m")


def test_a_refusal_tells_the_size_of_the_text(server):
    encoder, _ = open_server(server)
    assert encoder.dim == 3
    server.answers = [answer(413, b"too long")]
    with pytest.raises(LogfmError, match=r"answered 413: too long \(2 texts, the longest of 5000 bytes\)"):
        encoder.encode(["a", "b" * 5000])


def test_it_gives_up_after_all_attempts(server):
    encoder, waits = open_server(server, http_attempts=3)
    server.answers = [answer(429, b"slow\ndown\x1b[31m")]
    with pytest.raises(LogfmError, match=r"answered 429: slow down.* 3 times in a row") as found:
        encoder.encode(["a"])
    assert "\x1b" not in str(found.value)
    assert len(server.requests) == 3
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_a_refusal_is_not_repeated(server, status):
    encoder, waits = open_server(server)
    server.answers = [answer(status, b"no")]
    with pytest.raises(LogfmError, match=f"answered {status}: no"):
        encoder.encode(["a"])
    assert (len(server.requests), waits) == (1, [])


def test_an_empty_text_is_asked_for_by_itself(server):
    """Many servers refuse it, and a batch with it."""

    def picky(status):
        refuse = answer(status, b"input cannot be empty")
        return lambda texts: refuse(texts) if "" in texts else right_answer(texts)

    for status, expected in ((200, [0, 1, 2]), (400, [0, 0, 0]), (422, [0, 0, 0])):
        encoder, _ = open_server(server)
        server.requests.clear()
        server.answers = [right_answer if status == 200 else picky(status)]
        assert encoder.encode(["a", "", "bb"]).tolist() == [[1, 1, 2], expected, [2, 1, 2]]
        assert encoder.encode(["", ""]).tolist() == [expected] * 2
        assert [request["input"] for request in server.requests] == [["logfm"], ["a", "bb"], [""]]
    server.answers = [picky(401)]
    encoder, _ = open_server(server)
    with pytest.raises(LogfmError, match="answered 401"):
        encoder.encode(["a", ""])


def test_a_certificate_that_is_not_trusted_is_refused_at_once(monkeypatch):
    said = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
    calls = []

    def refuse(*given, **named):
        calls.append(1)
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, said))

    monkeypatch.setattr("logfm.embeddings.remote._OPENER", SimpleNamespace(open=refuse))
    encoder, waits = open_server(SimpleNamespace(url="https://logs.example/v1/embeddings"))
    with pytest.raises(LogfmError, match=r"the certificate of https://logs\.example/v1/embeddings is not") as found:
        encoder.encode(["a"])
    assert "self-signed certificate" in str(found.value)
    assert (len(calls), waits) == (1, [])


def test_a_redirect_is_not_followed(server):
    encoder, _ = open_server(server)
    server.answers = [answer(307, Location="http://127.0.0.1:9/elsewhere")]
    with pytest.raises(LogfmError, match="answered 307"):
        encoder.encode(["a"])


def test_a_server_that_hangs_times_out(server):
    release = threading.Event()

    def hang(texts):
        release.wait(20)
        return right_answer(texts)

    encoder, waits = open_server(server, http_timeout=0.05, http_attempts=2)
    server.answers = [hang]
    try:
        with pytest.raises(LogfmError, match=r"gave no answer \(timed out\), 2 times in a row"):
            encoder.encode(["a"])
    finally:
        release.set()
    assert waits == [1.0]


def test_nobody_listens():
    config = EncoderConfig(http_attempts=2)
    encoder = LogEncoder("x", RemoteBackend("http://127.0.0.1:9/v1/embeddings", "m", config, wait=lambda _: None))
    with pytest.raises(LogfmError, match="gave no answer"):
        encoder.encode(["a"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "gave no embeddings"),
        (b"[]", "gave no embeddings"),
        (b'{"data": [{"embedding": [1.0]}]}', "gave no embeddings"),
        (data(), "0 vectors for 1 texts"),
        (data([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), "2 vectors for 1 texts"),
        (b'{"data": [{"index": 0, "embedding": [NaN, 1.0, 2.0]}]}', "gave no embeddings"),
        (data([None, 1.0, 2.0]), "hold NaN"),
        (data(["1", 1.0, 2.0]), "hold NaN"),
        (data("AAAA"), "hold NaN"),
        (data([1e300, 1.0, 2.0]), "NaN or infinity"),
        (data([1.0, 2.0]), r"width \[2\], not 3"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_an_answer_that_is_no_set_of_vectors_is_refused(server, body, words):
    encoder, _ = open_server(server)
    assert encoder.dim == 3
    server.answers = [answer(200, body)]
    with pytest.raises(LogfmError, match=words):
        encoder.encode(["a"])


def test_surrogates_are_sent_as_text(server):
    encoder, _ = open_server(server)
    assert np.isfinite(encoder.encode(["\ud800"])).all()
    assert server.requests[-1]["input"] == ["\\ud800"]
