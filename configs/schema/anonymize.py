"""Configuration of anonymisation: what is mapped, what is kept, and the bounds of its memory."""

from pydantic import Field

from logfm.configs import Config


class AnonymizeConfig(Config):
    """How identifiers become pseudonyms. The same key, configuration and events give the same output."""

    keep_versions: bool = True
    """Leave a dotted quad that stands right behind the word "version" and is no private address as it is."""

    keep_names: tuple[str, ...] = ()
    """More names that identify no one and stay, beside the built-in list (whole names, any case)."""

    keep_domains: tuple[str, ...] = ()
    """More registered domains that stay with all their sub-domains, such as `example.org`."""

    index_originals: bool = False
    """Let the contamination index hold events as they were, too, so that an evaluation on the same logs knows them.
    For logs that are public: whoever guesses the words of an event can find its hash there."""

    max_identifiers: int = Field(default=2_000_000, ge=1)
    """Distinct names beyond which collecting stops with an error rather than leaving some out (names; about 250 bytes
    each)."""

    max_keys: int = Field(default=100_000, ge=1)
    """Distinct JSON keys whose counts are held, to tell a key from a name (keys)."""

    max_depth: int = Field(default=3, ge=0, le=8)
    """Encodings within encodings that are opened, such as base64 within a URL (layers)."""

    memo_entries: int = Field(default=200_000, ge=1)
    """Tokens whose mapping a process remembers; speed only, the result is the same (tokens)."""
