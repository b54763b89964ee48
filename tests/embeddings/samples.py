"""Log lines, an encoder anyone could write, and a real local server."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import orjson


def log_lines(count, seed=0):
    rng = np.random.default_rng(seed)
    users, verbs = ["root", "alice", "bob", "mallory"], ["opened", "closed", "refused"]
    return [
        f"Jan  5 10:{i // 60 % 60:02d}:{i % 60:02d} host{rng.integers(3)} sshd[{rng.integers(1000, 9999)}]: session "
        f"{verbs[rng.integers(3)]} for user {users[rng.integers(4)]} from 10.0.{rng.integers(255)}.{rng.integers(255)}"
        for i in range(count)
    ]


def write_log(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


class Letters:
    """An encoder anyone could write: counts of letters and digits. It notes what it was asked."""

    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    dim = len(alphabet)

    def __init__(self):
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return np.array([[text.lower().count(letter) for letter in self.alphabet] for text in texts], dtype=np.float32)


class Server:
    """An embeddings server; `answers` are functions of (number, texts) tried in order, the last one for good."""

    def __init__(self):
        self.requests = []
        self.headers = []
        self.answers = [right_answer]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                document = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(document)
                server.headers.append(dict(self.headers))
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                status, headers, body = answer(document["input"])
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """Clients that hang up are part of the tests."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/embeddings"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def right_answer(texts, width=3):
    rows = [
        {"object": "embedding", "index": i, "embedding": [float(len(text)), 1.0, 2.0][:width]}
        for i, text in enumerate(texts)
    ]
    # A server may answer in any order: the index counts.
    return 200, {}, orjson.dumps({"object": "list", "data": rows[::-1], "model": "m"})


def answer(status, body=b"{}", **headers):
    return lambda texts: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
