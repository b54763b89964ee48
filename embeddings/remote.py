"""Encoders behind an OpenAI-compatible server: `http://HOST/v1/embeddings#MODEL`."""

import http.client
import math
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from logfm.artifacts import digest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.encoder import encodable
from logfm.errors import LogfmError, UserError

KEY_VARIABLE = "LOGFM_API_KEY"
"""Environment variable whose value is sent as the bearer token, where it is set."""
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
# Answers to a text that a server does not take.
_NOT_THIS_TEXT = frozenset({400, 413, 422})
_LONGEST_WAIT = 60.0
# Bytes of an answer at most: 65,536 dimensions of a text as JSON, and as much for what is around them.
_BYTES_A_TEXT = 1 << 21
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class RemoteBackend:
    """A server; its answer is checked for order, number, width and finite values."""

    url: str
    model: str
    config: EncoderConfig = field(default_factory=EncoderConfig)
    wait: Callable[[float], None] = field(default=time.sleep, repr=False)
    """Called with the seconds before another attempt."""

    @cached_property
    def dim(self) -> int:
        """Width of a vector, found by encoding one text."""
        return len(self._request(["logfm"])[0])

    @cached_property
    def hash(self) -> str:
        """Of address, model and width: a server that changes its model under the same name goes unnoticed."""
        return digest({"url": self.url, "model": self.model, "dim": self.dim})

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)); what the server cuts is not known.

        Raises:
            LogfmError: no answer after all attempts, a refusal, a certificate that is not trusted, or an answer that
                is no set of vectors.
        """
        width = self.dim
        parts = [self._array(batch, width) for batch in self._batches([encodable(text) for text in texts if text])]
        vectors = np.concatenate([np.empty((0, width), dtype=np.float32), *parts])
        return (np.insert(vectors, texts.index(""), self._empty, axis=0) if "" in texts else vectors), 0

    @cached_property
    def _empty(self) -> np.ndarray:
        """The vector of the empty text, asked for by itself, as many servers refuse it and all that comes with it:
        zeros, which are no direction, where this one does."""
        try:
            return self._array([""], self.dim)[0]
        except _Refused as error:
            if error.status not in _NOT_THIS_TEXT:
                raise
            return np.zeros(self.dim, dtype=np.float32)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            length = len(text.encode())
            if batch and (len(batch) == self.config.http_texts or size + length > self.config.http_bytes):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += length
        if batch:
            yield batch

    def _array(self, texts: list[str], width: int) -> np.ndarray:
        rows = self._request(texts)
        if any(len(row) != width for row in rows):
            widths = sorted({len(row) for row in rows})
            raise LogfmError(f"{self.url} gave vectors of width {widths}, not {width}")
        return np.array(rows, dtype=np.float32)

    def _request(self, texts: list[str]) -> list[list[float]]:
        document = {"model": self.model, "input": texts, "encoding_format": "float"}
        longest = max(len(text.encode()) for text in texts)
        try:
            answer = self._post(orjson.dumps(document), (1 + len(texts)) * _BYTES_A_TEXT)
        except _Refused as error:
            # What a server reads at most is its own affair: the size helps to find the line.
            told = f"{error} ({len(texts)} texts, the longest of {longest} bytes)"
            raise _Refused(told, error.status) from error
        try:
            rows = sorted(orjson.loads(answer)["data"], key=lambda row: int(row["index"]))
            found = [row["embedding"] for row in rows]
            complete = [row["index"] for row in rows] == list(range(len(texts)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LogfmError(f"{self.url} gave no embeddings ({type(error).__name__})") from error
        if not complete:
            raise LogfmError(f"{self.url} gave {len(found)} vectors for {len(texts)} texts")
        if not all(isinstance(row, list) and row and all(_is_number(value) for value in row) for row in found):
            raise LogfmError(f"{self.url} gave vectors that hold NaN or something that is no number")
        return found

    def _post(self, body: bytes, most: int) -> bytes:
        """Send one request; what may pass (429, 5xx, timeouts, lost connections) is tried again, ever later."""
        for attempt in range(1, self.config.http_attempts + 1):
            delay = min(2.0 ** (attempt - 1), _LONGEST_WAIT)
            try:
                return self._send(body, most)
            except urllib.error.HTTPError as error:
                problem = f"answered {error.code}: {_said(error)}"
                if error.code not in _RETRIED:
                    raise _Refused(one_line(f"{self.url} {problem}"), error.code) from error
                delay = _asked(error.headers.get("Retry-After"), delay)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None)
                if isinstance(reason, ssl.SSLCertVerificationError):
                    what = f"the certificate of {self.url} is not trusted here ({reason})"
                    raise LogfmError(one_line(what)) from error
                problem = f"gave no answer ({reason or error or type(error).__name__})"
            if attempt < self.config.http_attempts:
                self.wait(delay)
        raise LogfmError(one_line(f"{self.url} {problem}, {self.config.http_attempts} times in a row"))

    def _send(self, body: bytes, most: int) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        deadline = time.monotonic() + self.config.http_timeout
        with _OPENER.open(request, timeout=self.config.http_timeout) as response:
            content = bytearray()
            while part := response.read1(_CHUNK):
                content += part
                if len(content) > most:
                    raise LogfmError(f"{self.url} gave more than {most} bytes")
                # The timeout of a socket starts again with each byte.
                if time.monotonic() > deadline:
                    raise TimeoutError("timed out")
            if response.length:
                raise http.client.IncompleteRead(bytes(content), response.length)
        return bytes(content)


class _Refused(LogfmError):
    """An answer that no repetition changes, with its status."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def _said(error: urllib.error.HTTPError) -> str:
    """The beginning of what came with an error, which may itself hang or break off."""
    try:
        return error.read(300).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return "(no more)"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Logs and keys go to the address the user named and to no other."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def open_server(uri: str, config: EncoderConfig) -> RemoteBackend:
    """Open `http://HOST/v1/embeddings#MODEL`; the server is first asked when something is encoded.

    Raises:
        UserError: no host or no model in the URI, or something that cannot stand in one.
    """
    url, _, model = uri.partition("#")
    if not model or not url.partition("://")[2].strip("/"):
        raise UserError("expected http://HOST/v1/embeddings#MODEL", uri)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UserError("the address holds a character that must be percent-encoded", uri)
    try:
        parts = urllib.parse.urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UserError("the address has no host, or no such port", uri)
    return RemoteBackend(url, model, config)


def one_line(text: str) -> str:
    """A server's words in a message: one line, printable."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _asked(header: str | None, default: float) -> float:
    """Seconds of a Retry-After header, within reason."""
    try:
        seconds = float(header or default)
    except ValueError:
        return default
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else default
