"""Anyone's own encoder: `py:MODULE:OBJECT`. The module is code and runs; the URI comes from the user."""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from logfm.artifacts import digest, file_hash
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.errors import LogfmError, UserError


@dataclass(frozen=True, eq=False)
class ObjectBackend:
    """An object with `encode(texts)`; `dim` and `hash` are taken from it where it has them."""

    uri: str
    target: Any = field(repr=False)

    @cached_property
    def dim(self) -> int:
        """Width of a vector; found by encoding one text where the object does not say."""
        with _explained(self.uri, "dim failed"):
            stated = getattr(self.target, "dim", None)
            if stated is not None:
                return int(stated)
        return int(self._vectors(["logfm"]).shape[1])

    @cached_property
    def hash(self) -> str:
        """The object's own hash, else that of its name, its width and its module's source: what lies outside of that
        file, such as weights, can't be told apart.
        """
        with _explained(self.uri, "hash failed"):
            stated = getattr(self.target, "hash", None)
        if isinstance(stated, str):
            return stated
        path = getattr(sys.modules.get(self.uri.removeprefix("py:").partition(":")[0]), "__file__", None)
        source = file_hash(Path(path)) if path and Path(path).is_file() else ""
        return digest({"uri": self.uri, "dim": self.dim, "source": source})

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)); what the object cuts is not known.

        Raises:
            LogfmError: the object failed, or gave no matrix.
        """
        return self._vectors(texts), 0

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        with _explained(self.uri, "encode() failed"):
            vectors = np.asarray(self.target.encode(list(texts)), dtype=np.float32)
        if vectors.ndim != 2:
            raise LogfmError(f"{self.uri} gave an array of {vectors.ndim} dimensions, not (texts, dim)")
        return vectors


def open_object(uri: str, config: EncoderConfig) -> ObjectBackend:
    """Open `py:MODULE:OBJECT`: an object with `encode(texts)`, or a class or function that makes one.

    Raises:
        UserError: no such module or object, or it has no `encode`.
        LogfmError: the module or what makes the object failed.
    """
    module, colon, name = uri.removeprefix("py:").partition(":")
    if not module or not colon or not name:
        raise UserError("expected py:MODULE:OBJECT", uri)
    with _explained(uri, "the module failed"):
        try:
            loaded = import_module(module)
        except ModuleNotFoundError as error:
            raise UserError(f"no module {error.name}", uri, "It must be importable from here.") from error
    with _explained(uri, "the object cannot be made"):
        if not hasattr(loaded, name):
            raise UserError(f"the module has no {name}", uri)
        target = getattr(loaded, name)
        made = target() if inspect.isclass(target) or (not hasattr(target, "encode") and callable(target)) else target
        if not callable(getattr(made, "encode", None)):
            raise UserError("the object has no encode(texts)", uri)
    return ObjectBackend(uri, made)


@contextmanager
def _explained(uri: str, what: str) -> Iterator[None]:
    """Whatever anyone's code raises, in one line.

    Raises:
        LogfmError: instead of any other failure.
    """
    try:
        yield
    except LogfmError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])
        raise LogfmError(f"{uri}: {what} ({reason[:300]})") from error
