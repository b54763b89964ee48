"""The tokenizer at work: text to ids and back, and what each id is."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from logfm.errors import UserError
from logfm.tokenizer import files
from logfm.tokenizer.pieces import SPECIAL_TOKENS, piece_bytes, readable
from logfm.tokenizer.policy import is_delimiter
from logfm.tokenizer.specification import foreign_part
from logfm.tokenizer.stray_bytes import encodable


@dataclass(frozen=True, eq=False)
class LogTokenizer:
    """A trained tokenizer. The text of a special token inside a log is ordinary text; lone surrogates are
    escaped."""

    folder: Path
    facts: files.Facts = field(repr=False)
    hash: str
    """SHA-256 over tokenizer.json and the delimiter mask: data and models carry it and refuse another
    one's."""
    delimiter_mask: np.ndarray = field(repr=False)
    """bool (vocab_size,): True where the token is wholly delimiters; False for content and special tokens."""
    byte_lengths: np.ndarray = field(repr=False)
    """int32 (vocab_size,): UTF-8 bytes of each token, 0 for special tokens."""
    _pieces: list[bytes] = field(repr=False)
    _backend: Tokenizer = field(repr=False)

    pad_id, cls_id, sep_id, unk_id, mask_id = range(len(SPECIAL_TOKENS))

    @classmethod
    def load(cls, folder: str | Path) -> "LogTokenizer":
        """Open a tokenizer folder, or an encoder folder that holds a tokenizer's files.

        Raises:
            UserError: no tokenizer there, a damaged or changed one, or a delimiter mask that does not fit it.
        """
        folder = Path(folder)
        specification, facts = files.read(folder)
        backend, pieces = _parse(specification, folder)
        stored = np.zeros(len(pieces), dtype=bool)
        if any(not 0 <= token < len(pieces) for token in facts.delimiter_ids):
            raise UserError("the delimiter mask does not fit the vocabulary", folder, "Train it again.")
        stored[facts.delimiter_ids] = True
        try:
            mask = mask_of(pieces, facts)
        except ValueError as error:
            raise UserError(f"the delimiter mask does not fit the vocabulary ({error})", folder) from None
        if not np.array_equal(stored, mask):
            raise UserError("the delimiter mask does not fit the vocabulary", folder, "Train it again.")
        foreign = foreign_part(backend, facts.policy)
        if foreign is not None:
            raise UserError(
                f"the tokenizer was changed ({foreign})",
                folder / files.TOKENIZER,
                f"Copy {', '.join(files.FILES)} again from where they came.",
            )
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int32)
        return cls(folder, facts, files.identity(specification, mask), mask, lengths, pieces, backend)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return len(self._pieces)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, int32 (tokens,), without special tokens and without truncation."""
        try:
            encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            encoded = self._backend.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens left out; bytes that are no whole character become U+FFFD.

        Raises:
            IndexError: an id that is not in the vocabulary.
        """
        return b"".join([self._pieces[index] for index in _integers(ids)]).decode("utf-8", "replace")

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The text of each id for display; a part of a character is written `\\xNN`."""
        return [
            SPECIAL_TOKENS[index] if index < len(SPECIAL_TOKENS) else readable(self._pieces[index])
            for index in _integers(ids)
        ]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token in the text, in characters; parts of one character share its span."""
        offsets = self._backend.encode(encodable(text), add_special_tokens=False).offsets
        if len(encodable(text)) == len(text):
            return list(offsets)
        origin = [place for place, character in enumerate(text) for _ in encodable(character)]
        return [(origin[start], origin[end - 1] + 1) for start, end in offsets]

    def save(self, folder: str | Path) -> None:
        """Copy the tokenizer's files into a folder, such as an encoder's, unchanged."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in files.FILES:
            shutil.copyfile(self.folder / name, target / name)


def mask_of(pieces: Sequence[bytes], facts: files.Facts) -> np.ndarray:
    """The delimiter mask (bool, (vocab_size,)) that a vocabulary has under its policy.

    Raises:
        ValueError: a token mixes content and delimiters.
    """
    return np.array([bool(piece) and is_delimiter(piece, facts.policy) for piece in pieces])


def pieces_of(backend: Tokenizer) -> list[bytes]:
    """The bytes of every id, empty for special tokens.

    Raises:
        KeyError, ValueError: the vocabulary is not byte-level, lacks a byte or an id, or begins with other special
            tokens.
    """
    vocabulary = sorted(backend.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    if [index for _, index in vocabulary] != list(range(len(vocabulary))):
        raise ValueError("ids are not consecutive")
    names = [token for token, _ in vocabulary]
    if tuple(names[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
        raise ValueError("other special tokens")
    pieces = [piece_bytes(token) for token in names[len(SPECIAL_TOKENS) :]]
    if len({piece for piece in pieces if len(piece) == 1}) != 256:
        raise ValueError("a byte has no token")
    return [b""] * len(SPECIAL_TOKENS) + pieces


def _parse(specification: bytes, folder: Path) -> tuple[Tokenizer, list[bytes]]:
    damaged = UserError("damaged tokenizer", folder / files.TOKENIZER, "Train it again.")
    try:
        backend = Tokenizer.from_str(specification.decode())
        return backend, pieces_of(backend)
    except (KeyError, ValueError):
        raise damaged from None
    except Exception as error:
        raise damaged from error


def _integers(ids: Iterable[int]) -> list[int]:
    found: list[int] = ids.tolist() if isinstance(ids, np.ndarray) else [int(index) for index in ids]
    if found and min(found) < 0:
        raise IndexError(f"no token has the id {min(found)}")
    return found
