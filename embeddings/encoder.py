"""The one interface to an encoder, ours or a rival's: texts in, float32 vectors out, named by a URI."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.corpus.headers import without_header
from logfm.errors import LogfmError, UserError
from logfm.pretrain.shipped import NANO

if TYPE_CHECKING:
    from logfm.pretrain import PretrainedEncoder

# Prefix of a URI, and the function `module:name` that opens it.
_SCHEMES = {
    "st:": "foreign:open_sentence_transformer",
    "hf:": "foreign:open_transformer",
    "py:": "custom:open_object",
    "http://": "remote:open_server",
    "https://": "remote:open_server",
}
# What each kind of encoder, by the module that opens it, would leave out in silence.
_OURS = ("backend", "layers", "pooling", "bf16")
_UNUSED = {
    "foreign": _OURS,
    "tfidf": (*_OURS, "device", "max_tokens"),
    "custom": (*_OURS, "device", "max_tokens", "truncation"),
    "remote": (*_OURS, "device", "max_tokens", "truncation"),
}
HASHED = ("backend", "layers", "pooling")
"""Options of an encoder folder that change its hash."""
_FORMS = "An encoder is nano, a folder, st:NAME, hf:NAME, tfidf, py:MODULE:OBJECT or http://HOST/v1/embeddings#MODEL."


@runtime_checkable
class Encoder(Protocol):
    """What every command and benchmark asks of an encoder."""

    @property
    def name(self) -> str:
        """The URI, or another name for tables."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def hash(self) -> str:
        """Identity of the model: vectors of different hashes don't mix."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """One vector a text, in order: float32 (len(texts), dim)."""


class Backend(Protocol):
    """One kind of encoder behind `LogEncoder`, which checks its input and output."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def hash(self) -> str:
        """Identity of the model."""

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)) of different texts, and how many of the texts were cut. Thread-safe."""


@dataclass
class Counts:
    """What an encoder has read since it was loaded."""

    texts: int = 0
    encoded: int = 0
    """Texts that went through the model: of those of one call that read alike one goes."""
    cut: int = 0
    """Of those, texts longer than the encoder reads, treated by the truncation policy."""

    def add(self, other: "Counts") -> None:
        """Count what another has read, too."""
        self.texts += other.texts
        self.encoded += other.encoded
        self.cut += other.cut


@dataclass(frozen=True, eq=False)
class LogEncoder:
    """An encoder of any URI; safe to use from several threads."""

    name: str
    backend: Backend = field(repr=False)
    config: EncoderConfig = field(default_factory=EncoderConfig)
    counts: Counts = field(default_factory=Counts)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(
        cls,
        uri: str | Path,
        config: EncoderConfig | None = None,
        *,
        backend: str | None = None,
        layers: str | int | None = None,
        pooling: str | None = None,
        reads: str | None = None,
        truncation: str | None = None,
        bf16: bool | None = None,
        device: str | None = None,
    ) -> "LogEncoder":
        """Open an encoder; all that follows `config` stands for its fields of the same names. The `config` of what is
        opened names the backend that runs, never `auto`, where an encoder folder was given.

        `uri` is `nano` (the one that ships), a folder (exported by `logfm pretrain`), `st:NAME_OR_PATH`
        (sentence-transformers), `hf:NAME_OR_PATH` (transformers, mean pooling), `tfidf`, `py:MODULE:OBJECT`, or
        `http://HOST/v1/embeddings#MODEL` (OpenAI-compatible).

        Raises:
            UserError: no such encoder, a damaged one, an option that it does not have, or a package that is missing.
        """
        given = {"backend": backend, "layers": layers, "pooling": pooling, "reads": reads,
                 "truncation": truncation, "bf16": bf16, "device": device}  # fmt: skip
        config = _with_options(config or EncoderConfig(), given)
        name = str(uri)
        scheme = next((prefix for prefix in _SCHEMES if name.startswith(prefix)), None)
        if scheme is not None:
            opener = _SCHEMES[scheme]
        elif name == "tfidf":
            opener = "tfidf:new_tfidf"
        elif name == NANO or Path(name).is_dir():
            opener = "tfidf:open_tfidf" if (Path(name) / "tfidf.json").is_file() else "folder:open_folder"
        else:
            raise UserError("no such encoder", name, _FORMS)
        module, function = opener.split(":")
        _refuse_options(name, config, _UNUSED.get(module, ()))
        opened = getattr(import_module(f"logfm.embeddings.{module}"), function)(name, config)
        # What goes into manifests must mean the same on every machine, which `auto` does not.
        chosen = getattr(opened, "chosen", config.backend)
        return cls(_absolute(name), opened, config.model_copy(update={"backend": chosen}))

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.backend.dim

    @property
    def hash(self) -> str:
        """Identity of the model: vectors of different hashes don't mix.

        Raises:
            UserError: tfidf before it was fitted.
        """
        return self.backend.hash

    @property
    def tells_cuts(self) -> bool:
        """Whether it is known how many texts were cut: not of code and servers of others, which have their own rule."""
        return not self.name.startswith(("py:", "http:", "https:"))

    @contextmanager
    def counted(self) -> Iterator["LogEncoder"]:
        """The same encoder with counts of its own, which are added to those of this one at the end."""
        own = replace(self, counts=Counts())
        try:
            yield own
        finally:
            with self._lock:
                self.counts.add(own.counts)

    @property
    def needs_fit(self) -> bool:
        """Whether it is tfidf that has not been fitted."""
        return bool(getattr(self.backend, "needs_fit", False))

    @property
    def explains(self) -> bool:
        """Whether it was trained by logfm and runs on torch, so that it can tell how surprising a token is."""
        return getattr(self.backend, "pretrained", None) is not None

    @property
    def layered(self) -> bool:
        """Whether its layers run on torch in this process, so that the last one can be trained."""
        return self.explains or getattr(self.backend, "model", None) is not None

    @property
    def pretrained(self) -> "PretrainedEncoder":
        """The model and tokenizer behind an encoder that logfm trained.

        Raises:
            UserError: another kind of encoder, or one of the ONNX backends was asked for.
        """
        found: PretrainedEncoder | None = getattr(self.backend, "pretrained", None)
        if found is None:
            raise UserError("this needs an encoder folder trained by logfm, on the backend torch", self.name)
        return found

    @property
    def limit(self) -> int:
        """Tokens that the model of `pretrained` reads of a text, special ones not counted: as many as in training,
        unless the configuration asks for more or fewer.

        Raises:
            UserError: as `pretrained`.
        """
        model = self.pretrained
        return min(model.most_tokens, self.config.max_tokens or model.max_tokens)

    def fit(self, texts: Iterable[str]) -> None:
        """Fit tfidf on texts; every other encoder is left as it is."""
        fit = getattr(self.backend, "fit", None)
        if fit is not None:
            fit(self.read(checked(list(texts))))

    def read(self, texts: Sequence[str]) -> list[str]:
        """What is encoded of each text, by `config.reads`: texts of which it is the same have the same vector."""
        return list(texts) if self.config.reads == "line" else [without_header(text) for text in texts]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """One vector a text, in order: float32 (len(texts), dim). Equal texts, and those of which
        the same is read, are encoded once.

        Texts longer than the encoder reads follow `config.truncation` and are counted in `counts.cut`; a server
        reached by http cuts by its own rule. tfidf that has not been fitted is fitted on these texts.

        Raises:
            UserError: `texts` is a single string, or holds anything but strings; a text is too long and the policy
                is "error".
            LogfmError: the encoder gave NaN, or vectors of another shape.
        """
        given = checked(texts)
        if not given:
            return np.empty((0, self.dim), dtype=np.float32)
        numbers: dict[str, int] = {}
        rows = np.array([numbers.setdefault(text, len(numbers)) for text in self.read(given)], dtype=np.int64)
        if self.needs_fit:
            self.fit(given)
        vectors, cut = self.backend.encode(list(numbers))
        if vectors.shape != (len(numbers), self.dim):
            raise LogfmError(f"{self.name} gave vectors of shape {vectors.shape}, not {(len(numbers), self.dim)}")
        if not np.isfinite(vectors).all():
            raise LogfmError(f"{self.name} gave vectors that hold NaN or infinity")
        with self._lock:
            self.counts.add(Counts(len(given), len(numbers), cut))
        unique = vectors.astype(np.float32, copy=False)
        return unique if len(numbers) == len(given) else unique[rows]

    def count_again(self, texts: int) -> None:
        """Count texts whose vectors the caller has kept."""
        with self._lock:
            self.counts.add(Counts(texts))


def checked(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        UserError: a single string, something that holds no texts, or an element that is no string.
    """
    if isinstance(texts, str | bytes | bytearray | Mapping) or not isinstance(texts, Iterable):
        raise UserError("texts must be a list of strings", f"found one {type(texts).__name__}", "Put it in a list.")
    given = list(texts)
    for number, text in enumerate(given):
        if not isinstance(text, str):
            raise UserError("texts must be strings", f"number {number} is {type(text).__name__}")
    return given


def _with_options(config: EncoderConfig, given: Mapping[str, object]) -> EncoderConfig:
    changed = {
        key: value if isinstance(value, bool) else str(value) for key, value in given.items() if value is not None
    }
    return parse(EncoderConfig, config.dump() | changed, "the encoder") if changed else config


def _refuse_options(uri: str, config: EncoderConfig, unused: Sequence[str]) -> None:
    """Nothing that was asked for is left out in silence."""
    plain = EncoderConfig()
    for option in unused:
        if getattr(config, option) != getattr(plain, option):
            fix = "Leave it out."
            if option in ("truncation", "max_tokens"):
                raise UserError(f"this encoder cuts texts by its own rule, without the option {option}", uri, fix)
            kinds = "encoder folders, st: and hf:" if option == "device" else "encoder folders of logfm"
            raise UserError(f"the option {option} is for {kinds}", uri, fix)
    if config.bf16 and config.backend.startswith("onnx"):
        raise UserError("bf16 is for the backend torch", config.backend, "Leave one of the two out.")


def described(name: str, options: Mapping[str, object]) -> str:
    """An encoder's name with what else its hash depends on."""
    told = (f"{key} {options[key]}" for key in HASHED if key in options)
    return f"{name}, {', '.join(told)}" if options.get("backend", "auto") != "auto" else name


def another(what: str, name: str, options: Mapping[str, object], encoder: LogEncoder, fix: str) -> UserError:
    """The refusal of `what`, which the encoder `name` made when it was opened with `options`; `fix` is what can be done
    other than to open that one."""
    own = encoder.config.dump()
    wanted = "".join(f" --{key} {options[key]}" for key in HASHED if key in options and options[key] != own[key])
    return UserError(
        f"{what} another encoder ({described(name, options)})",
        described(encoder.name, own),
        f"Give that one{' with' if wanted else ''}{wanted}, or {fix}.",
    )


def encodable(text: str) -> str:
    """The text with lone surrogates escaped as `\\udcNN`: foreign tokenizers and JSON refuse them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _absolute(name: str) -> str:
    """Names go into manifests: make a folder's name good from everywhere."""
    prefix = name[:3] if name[:3] in ("st:", "hf:") else ""
    place = name[len(prefix) :]
    named = place == NANO or name == "tfidf"
    return name if named or not Path(place).is_dir() else prefix + str(Path(place).resolve())
