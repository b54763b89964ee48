"""Encoders behind an OpenAI-compatible server: `http://HOST/v1/embeddings#MODEL`."""

import http.client
import math
import os
import time
import urllib.error
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
_LONGEST_WAIT = 60.0


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
            LogfmError: no answer after all attempts, a refusal, or an answer that is no set of vectors.
        """
        width = self.dim
        parts = [self._array(batch, width) for batch in self._batches([encodable(text) for text in texts])]
        return np.concatenate(parts), 0

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
        answer = self._post(orjson.dumps(document))
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

    def _post(self, body: bytes) -> bytes:
        """Send one request; what may pass (429, 5xx, timeouts, lost connections) is tried again, ever later."""
        for attempt in range(1, self.config.http_attempts + 1):
            delay = min(2.0 ** (attempt - 1), _LONGEST_WAIT)
            try:
                return self._send(body)
            except urllib.error.HTTPError as error:
                problem = f"answered {error.code}: {error.read(300).decode(errors='replace')}"
                if error.code not in _RETRIED:
                    raise LogfmError(one_line(f"{self.url} {problem}")) from error
                delay = _asked(error.headers.get("Retry-After"), delay)
            except (OSError, http.client.HTTPException) as error:
                problem = f"gave no answer ({getattr(error, 'reason', None) or error or type(error).__name__})"
            if attempt < self.config.http_attempts:
                self.wait(delay)
        raise LogfmError(one_line(f"{self.url} {problem}, {self.config.http_attempts} times in a row"))

    def _send(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        with _OPENER.open(request, timeout=self.config.http_timeout) as response:
            content: bytes = response.read()
        return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Logs and keys go to the address the user named and to no other."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def open_server(uri: str, config: EncoderConfig) -> RemoteBackend:
    """Open `http://HOST/v1/embeddings#MODEL`; the server is first asked when something is encoded.

    Raises:
        UserError: no host or no model in the URI.
    """
    url, _, model = uri.partition("#")
    if not model or not url.partition("://")[2].strip("/"):
        raise UserError("expected http://HOST/v1/embeddings#MODEL", uri)
    return RemoteBackend(url, model, config)


def one_line(text: str) -> str:
    """A server's words in a message: one line, printable."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _asked(header: str | None, default: float) -> float:
    """Seconds of a Retry-After header, within reason."""
    try:
        return min(max(float(header or default), 0.0), _LONGEST_WAIT)
    except ValueError:
        return default
