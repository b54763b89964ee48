"""An encoder and an index behind HTTP: OpenAI's embeddings interface, and search.

`http://HOST:PORT/v1/embeddings#NAME` is then an encoder's URI for every other command.
"""

import base64
import os
import secrets
import socket
import threading
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

import numpy as np
import orjson
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import logfm
from logfm.configs.schema.embeddings import ServeConfig
from logfm.console import say
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.explain import explain
from logfm.embeddings.remote import KEY_VARIABLE
from logfm.embeddings.search import Index, Mode
from logfm.errors import LogfmError, UserError

Document = dict[str, Any]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class EmbeddingsBody(_Body):
    """Body of /v1/embeddings; `model` is not looked at, as there is one."""

    # Token ids are known here so that they can be refused by their name.
    input: str | list[str] | list[int] | list[list[int]]
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"


class SearchBody(_Body):
    """Body of /v1/search; see `logfm search`."""

    query: str
    k: int = Field(default=10, ge=1, le=1000)
    mode: Mode | None = None
    where: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class ExplainBody(_Body):
    """Body of /v1/explain."""

    text: str


def application(encoder: LogEncoder, index: Index | None = None, config: ServeConfig | None = None) -> FastAPI:
    """A web application over an encoder and, where there is one, an index, whose changes the next request sees.

    Where the environment variable LOGFM_API_KEY is set, requests must bring it as their bearer token. Answers of
    errors are {"error": {"message", "type"}} with status 400, 401, 404, 413 or 500.
    """
    current = None if index is None else _Current(index)
    config = config or ServeConfig()
    key = os.environ.get(KEY_VARIABLE)

    def allowed(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if key and not secrets.compare_digest(given.encode(), f"Bearer {key}".encode()):
            raise HTTPException(401, "a bearer token is needed")

    app = FastAPI(title="logfm", version=logfm.__version__, docs_url=None, redoc_url=None)
    app.add_middleware(_Limited, most=config.most_bytes)
    _answer_errors(app)
    guarded = [Depends(allowed)]

    @app.get("/health")
    def health() -> Document:
        """Whether the server is up, and with what."""
        return {"status": "ok", **_described(encoder, None if current is None else current.get())}

    @app.get("/v1/models", dependencies=guarded)
    def models() -> Document:
        """The one model, as OpenAI's interface lists it."""
        return {"object": "list", "data": [{"id": encoder.name, "object": "model", "owned_by": "logfm"}]}

    @app.post("/v1/embeddings", dependencies=guarded)
    def embeddings(body: EmbeddingsBody) -> Response:
        """Vectors of texts, as OpenAI's interface gives them, and how many different texts were too long (`cut`)."""
        texts = _texts(body, encoder)
        if not 0 < len(texts) <= config.most_texts:
            raise UserError(f"input must hold 1 to {config.most_texts} texts", f"{len(texts)} texts")
        _check_length(config.most_characters, *texts)
        with encoder.counted() as counted:
            vectors = counted.encode(texts)
        data = [
            {"object": "embedding", "index": row, "embedding": _written(vector, body.encoding_format)}
            for row, vector in enumerate(vectors)
        ]
        # Clients expect the field; nothing is billed here, so nothing is counted.
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        document = {"object": "list", "data": data, "model": encoder.name, "usage": usage}
        return _json(document | {"cut": counted.counts.cut if encoder.tells_cuts else None})

    @app.post("/v1/search", dependencies=guarded)
    def search(body: SearchBody) -> Response:
        """The events that answer a text best."""
        if current is None:
            raise UserError("this server has no index", fix="Start it with --index.")
        _check_length(config.most_characters, body.query)
        hits = current.get().search(body.query, body.k, body.where, mode=body.mode, since=body.since, until=body.until)
        return _json({"query": body.query, "hits": [asdict(hit) for hit in hits]})

    @app.post("/v1/explain", dependencies=guarded)
    def explanation(body: ExplainBody) -> Response:
        """How surprising each token of a line is."""
        _check_length(config.most_characters, body.text)
        return _json(asdict(explain(encoder, body.text)))

    return app


class _Current:
    """An index as it stands on the disk: opened again where it was changed. Requests under way keep what they have."""

    def __init__(self, index: Index) -> None:
        self._index, self._lock = index, threading.Lock()

    def get(self) -> Index:
        """The index for one request.

        Raises:
            LogfmError: it was changed into what cannot be opened.
        """
        if self._index.outdated:
            with self._lock:
                if self._index.outdated:  # another request may have opened it meanwhile
                    self._index = self._again()
        return self._index

    def _again(self) -> Index:
        try:
            return Index.open(self._index.path, self._index.encoder)
        except UserError as error:
            # Not the mistake of who asks.
            raise LogfmError(f"the index was changed and cannot be opened again: {error}") from error


def _texts(body: EmbeddingsBody, encoder: LogEncoder) -> list[str]:
    """The texts of a request for vectors, which the encoder can give as they are asked for."""
    if body.dimensions not in (None, encoder.dim):
        fix = "Leave dimensions out."
        raise UserError(f"vectors have {encoder.dim} dimensions here", f"{body.dimensions} asked for", fix)
    given = [body.input] if isinstance(body.input, str) else body.input
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise UserError("token ids are not read", "input", "Send the texts: the tokenizer here is another.")
    return texts


def _check_length(most: int, *texts: str) -> None:
    longest = max(map(len, texts))
    if longest > most:
        raise UserError(f"a text may have {most} characters", f"one has {longest}")


def _described(encoder: LogEncoder, index: Index | None) -> Document:
    events = None if index is None else index.manifest.metrics["events"]
    return {"encoder": encoder.name, "hash": encoder.hash, "dim": encoder.dim, "indexed_events": events}


def _written(vector: np.ndarray, form: str) -> Any:
    return vector if form == "float" else base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _json(document: Document) -> Response:
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")


def _error(status: int, message: str) -> JSONResponse:
    kind = {401: "authentication_error", 500: "server_error"}.get(status, "invalid_request_error")
    return JSONResponse({"error": {"message": " ".join(message.split()), "type": kind}}, status)


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _error(400, f"{place}: {first['msg']}" if place else str(first["msg"]))

    @app.exception_handler(HTTPException)
    def known(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(UserError)
    def mistaken(_: Request, error: UserError) -> JSONResponse:
        return _error(400, str(error))

    @app.exception_handler(LogfmError)
    def failed(_: Request, error: LogfmError) -> JSONResponse:
        return _error(500, str(error))

    @app.exception_handler(OSError)
    def unreadable(_: Request, error: OSError) -> JSONResponse:
        return _error(500, f"the server cannot read what it needs ({error.strerror or type(error).__name__})")


class _Limited:
    """Takes in a request's body, and refuses one beyond a number of bytes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                await _error(413, f"a request may have {self._most} bytes")(scope, receive, send)
                return
        given: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return given.pop() if given else await receive()

        await self._app(scope, replay, send)


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve until interrupted.

    Raises:
        UserError: the address is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen()  # before it is told: who reads that asks at once
    except (OSError, OverflowError) as error:
        opened.close()
        raise UserError(f"cannot listen ({error})", f"{host}:{port}", "Give another --host or --port.") from error
    address = f"[{host}]" if family == socket.AF_INET6 else host
    say(f"listening on http://{address}:{opened.getsockname()[1]} (POST /v1/embeddings, /v1/search, /v1/explain)")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False)).run([opened])
