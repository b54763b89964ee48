"""Settings of the tokenizer: how large, trained on how much, and how text is cut before the byte pairs
merge."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from logfm.configs.base import Config

VOCAB_MULTIPLE = 64
MIN_VOCAB_SIZE = 320
MAX_VOCAB_SIZE = 2**20


def _size(value: object) -> object:
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticCustomError("vocabulary", "expected a number of tokens")
    if value < MIN_VOCAB_SIZE:
        raise PydanticCustomError(
            "vocabulary",
            f"256 bytes and the special tokens need {MIN_VOCAB_SIZE} or more, a multiple of {VOCAB_MULTIPLE}",
        )
    if value > MAX_VOCAB_SIZE:
        raise PydanticCustomError("vocabulary", f"at most {MAX_VOCAB_SIZE} tokens")
    if value % VOCAB_MULTIPLE:
        lower = value // VOCAB_MULTIPLE * VOCAB_MULTIPLE
        raise PydanticCustomError(
            "vocabulary", f"use a multiple of {VOCAB_MULTIPLE}, such as {lower} or {lower + VOCAB_MULTIPLE}"
        )
    return value


def _size_or_auto(value: object) -> object:
    if isinstance(value, str) and value != "auto":
        raise PydanticCustomError("vocabulary", "expected a number of tokens, or auto")
    return value if value == "auto" else _size(value)


VocabSize = Annotated[int, BeforeValidator(_size)]


class PolicyConfig(Config):
    """How runs of content and delimiters are cut before byte pairs merge; every choice is lossless.

    Content is ASCII letters and digits and every character beyond ASCII; delimiters are the other ASCII
    characters.
    """

    digits: Literal["whole", "runs", "quads", "triplets", "single"] = "whole"
    """whole: digits stay with the letters beside them; runs: digits and letters part; quads, triplets,
    single: and at most four, three or one digit a piece, from the left."""
    hex: Literal["plain", "quads", "pairs"] = "pairs"
    """quads, pairs: a run of 8 to 128 hexadecimal digits with a letter among them is cut every 4 or 2
    characters."""
    guid: Literal["plain", "quads"] = "quads"
    """quads: the groups of a GUID are cut every 4 characters; plain: its groups are runs like any other."""
    base64: Literal["plain", "octets"] = "octets"
    """octets: a run of 32 or more ASCII letters and digits is cut every 8 characters, but for its last 24 to
    31."""
    case: Literal["kept", "camel"] = "kept"
    """camel: camelCase parts before each capitalised word; kept: letter case cuts nothing."""
    whitespace: Literal["runs", "single"] = "runs"
    """runs: white space and control characters in a row may merge; single: each is a token. The one space
    before a run of content or punctuation always belongs to that run."""
    underscore: Literal["content", "delimiter"] = "content"
    """Whether `_` counts as a letter or as punctuation."""

    @property
    def name(self) -> str:
        """The choices in one line, such as `digits=whole,hex=plain,...`."""
        return ",".join(f"{key}={value}" for key, value in self.dump().items())


class TokenizerConfig(Config):
    """Training of a byte-level BPE tokenizer on a corpus (SecEncoder, section 3.2)."""

    # One validator before the union: pydantic would report each member's complaint by the member's name.
    vocab_size: Annotated[int | Literal["auto"], BeforeValidator(_size_or_auto)] = 29_952
    """Tokens, special ones included; a multiple of 64. `auto` takes what the corpus bears: every merge whose
    pair occurs at least `min_frequency` times in the sample, down to a multiple of 64, at most
    `vocab_size_limit`."""
    vocab_size_limit: VocabSize = 29_952
    """The largest vocabulary that `auto` takes, tokens."""
    min_frequency: Annotated[int, Field(ge=1)] = 8
    """Occurrences in the sample, repeats included, that a pair needs to become a token."""
    sample_bytes: Annotated[int, Field(ge=1)] = 128 * 2**20
    """UTF-8 bytes drawn for training, shared equally among the sources; what a source cannot fill goes to the
    others."""
    max_repeats: Annotated[int, Field(ge=1)] = 4
    """Times that the text of a source is drawn at most, so that a small source counts beside large ones."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the draw."""
    policy: PolicyConfig = PolicyConfig()
    """How text is cut before byte pairs merge."""


class ExtensionConfig(Config):
    """More vocabulary for a trained tokenizer, learned from new telemetry; its policy stays."""

    add: Annotated[int, Field(ge=VOCAB_MULTIPLE, le=MAX_VOCAB_SIZE, multiple_of=VOCAB_MULTIPLE)] = 1024
    """New tokens, a multiple of 64."""
    min_frequency: Annotated[int, Field(ge=1)] = 4
    """Occurrences in the sample that a pair needs to become a token."""
    sample_bytes: Annotated[int, Field(ge=1)] = 128 * 2**20
    """UTF-8 bytes drawn for training, shared equally among the sources."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the draw."""
