"""A server whose index is changed while it runs."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from logfm.embeddings import Index
from logfm.embeddings.index import add, build, compact, delete
from logfm.embeddings.serving import _Current, application
from tests.embeddings.samples import log_lines, write_log


@pytest.fixture
def index(tmp_path, letters):
    lines = log_lines(60)
    log = write_log(tmp_path / "app.log", lines[:40])
    build([log], letters, tmp_path / "index")
    add(tmp_path / "index", [write_log(tmp_path / "app.log", lines)])
    return tmp_path / "index"


@pytest.fixture
def client(index, letters):
    return TestClient(application(letters, Index.open(index)), raise_server_exceptions=False)


def ask(client, **body):
    answer = client.post("/v1/search", json={"query": "session root", "k": 100, **body})
    return answer.status_code, answer.json()


def hosts(client, **body):
    status, document = ask(client, **body)
    assert status == 200
    return {hit["host"] for hit in document["hits"]}


def test_every_change_is_seen_by_the_next_request(client, index, tmp_path):
    assert hosts(client) == {"host0", "host1", "host2"}
    delete(index, where="host = 'host1'")
    assert hosts(client) == {"host0", "host2"}
    assert hosts(client, where="host = 'host1'") == set()
    for _ in range(2):  # the second one removes the old files
        compact(index)
    assert hosts(client, where="host != 'host2'") == {"host0"}
    new = write_log(tmp_path / "new.log", ["Jan  5 10:00:00 host9 sshd[1]: session opened for user root"])
    events = add(index, [new]).metrics["events"]
    assert "host9" in hosts(client)
    assert client.get("/health").json()["indexed_events"] == events


def test_requests_at_the_same_time_open_it_once(index, monkeypatch):
    opened, right, calls = Index.open(index), Index.open, []
    current = _Current(opened)
    assert current.get() is opened
    delete(index, where="host = 'host1'")
    monkeypatch.setattr(Index, "open", lambda *given: calls.append(1) or right(*given))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: current.get(), range(16)))
    assert len(calls) == 1
    assert {id(one) for one in found} == {id(current.get())} != {id(opened)}


def test_an_index_that_is_gone_or_out_of_reach_is_one_line(client, index, monkeypatch):
    shutil.move(index, f"{index}.away")
    status, document = ask(client)
    assert status == 500
    assert "the index was changed and cannot be opened again: no such folder" in document["error"]["message"]
    shutil.move(f"{index}.away", index)
    assert ask(client)[0] == 200

    def unreadable(_):
        raise PermissionError(13, os.strerror(13), str(index))

    monkeypatch.setattr("logfm.embeddings.search._listed", unreadable)
    status, document = ask(client)
    assert (status, document["error"]["type"]) == (500, "server_error")
    assert document["error"]["message"] == "the server cannot read what it needs (Permission denied)"
