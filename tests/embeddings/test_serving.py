"""The server, started for real and asked over HTTP."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

from logfm.cli import main
from logfm.embeddings import LogEncoder
from logfm.embeddings.index import build
from tests.embeddings.samples import log_lines, write_log

KEY = "open sesame"


@pytest.fixture(scope="module")
def index(encoder_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    build([write_log(folder / "app.log", log_lines(40))], LogEncoder.load(encoder_folder), folder / "index")
    return folder / "index"


@pytest.fixture(scope="module")
def address(encoder_folder, index):
    words = ["serve", "--encoder", encoder_folder, "--index", index, "--port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "logfm.cli", *words], stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"LOGFM_API_KEY": KEY, "COLUMNS": "500"})  # fmt: skip
    try:
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "the server ended"
            found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def ask(url, document=None, key=KEY):
    content = document if isinstance(document, bytes | None) else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, content, headers)) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["message"]


def test_it_is_an_encoder_for_every_command(address, encoder_folder, monkeypatch):
    monkeypatch.setenv("LOGFM_API_KEY", KEY)
    lines = [*log_lines(5), ""]
    served = LogEncoder.load(f"{address}/v1/embeddings#ours").encode(lines)
    assert np.allclose(served, LogEncoder.load(encoder_folder).encode(lines), atol=1e-6)


def test_one_text_and_base64(address):
    url = f"{address}/v1/embeddings"
    status, plain = ask(url, {"input": "one line", "model": "any"})
    assert status == 200 and plain["object"] == "list" and plain["data"][0]["index"] == 0
    import base64

    _, coded = ask(url, {"input": ["one line"], "encoding_format": "base64"})
    vector = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), dtype="<f4")
    assert np.allclose(vector, plain["data"][0]["embedding"])


def test_search_leads_back_to_the_file(address, index):
    line = log_lines(40)[7]
    status, found = ask(f"{address}/v1/search", {"query": line, "k": 3})
    assert status == 200 and found["hits"][0]["text"] == line
    assert len(found["hits"]) == 3 and found["hits"][0]["file"].endswith("app.log")
    assert ask(f"{address}/v1/search", {"query": line, "where": "1 = 0"})[1]["hits"] == []
    status, message = ask(f"{address}/v1/search", {"query": line, "where": "nonsense ="})
    assert status == 400 and "\n" not in message


def test_explanations_health_and_models(address, encoder_folder):
    status, found = ask(f"{address}/v1/explain", {"text": log_lines(1)[0]})
    assert status == 200 and any(token["nats"] is not None for token in found["tokens"])
    status, health = ask(f"{address}/health", key=None)
    assert status == 200 and health["indexed_events"] == 40
    assert health["hash"] == LogEncoder.load(encoder_folder).hash
    assert ask(f"{address}/v1/models")[1]["data"][0]["object"] == "model"


@pytest.mark.parametrize(
    ("path", "document", "key", "status"),
    [
        ("/v1/embeddings", {"input": "x"}, None, 401),
        ("/v1/embeddings", {"input": "x"}, "wrong", 401),
        ("/v1/embeddings", {"input": []}, KEY, 400),
        ("/v1/embeddings", {"input": [1, 2]}, KEY, 400),
        ("/v1/embeddings", {"input": [[1, 2], [3]]}, KEY, 400),
        ("/v1/embeddings", {"input": "x", "dimensions": 8}, KEY, 400),
        ("/v1/embeddings", {"input": ["x"] * 3000}, KEY, 400),
        ("/v1/embeddings", {}, KEY, 400),
        ("/v1/embeddings", b"{", KEY, 400),
        ("/v1/embeddings", b"x" * (17 << 20), KEY, 413),
        ("/v1/search", {"query": "x", "k": 0}, KEY, 400),
        ("/v1/search", {"query": "x", "mode": "guess"}, KEY, 400),
        ("/v1/search", {"query": "x", "since": "yesterday"}, KEY, 400),
        ("/v1/search", {"query": "x", "since": "0001-01-01T00:00+14:00"}, KEY, 400),
        ("/v1/search", {"query": "x", "since": "2026-01-05T00:00", "until": "2026-01-05T00:00Z"}, KEY, 400),
        ("/nowhere", {"input": "x"}, KEY, 404),
    ],
)
def test_bad_requests(address, path, document, key, status):
    found, message = ask(f"{address}{path}", document, key)
    assert found == status and message and "\n" not in message


def test_what_openai_offers_and_this_server_does_not_is_refused_by_its_name(address):
    url = f"{address}/v1/embeddings"
    assert ask(url, {"input": "x", "dimensions": 32})[0] == 200
    assert "vectors have 32 dimensions here: 8 asked for" in ask(url, {"input": "x", "dimensions": 8})[1]
    for tokens in ([1, 2], [[1, 2], [3]]):
        assert "token ids are not read" in ask(url, {"input": tokens})[1]


def test_without_an_index_or_a_free_port(encoder_folder, address, capsys):
    port = address.rsplit(":", 1)[1]
    assert main(["serve", "--encoder", str(encoder_folder), "--port", port]) == 2
    assert "cannot listen" in capsys.readouterr().err
    assert main(["serve", "--encoder", str(encoder_folder), "--index", str(encoder_folder)]) == 2
