"""Configuration of Sigma rules run over events."""

from pydantic import Field

from logfm.configs import Config


class RulesConfig(Config):
    """Which rules are read, and the bounds of a run. None of the bounds changes which rule fires on which event."""

    audit: bool = True
    """Also run rules of process creation and of the registry on the Security log (events 4688 and 4657)."""

    max_rule_bytes: int = Field(default=1 << 20, ge=1)
    """A larger rule file is rejected (bytes)."""

    max_rules: int = Field(default=100_000, ge=1)
    """Rules beyond this number are rejected (rules)."""

    max_patterns: int = Field(default=20_000, ge=1)
    """A rule with more values to compare than this, networks and encodings expanded, is unsupported (values)."""

    max_value_chars: int = Field(default=65_536, ge=1)
    """Only the beginning of a longer field value, or of a longer line, is compared (characters)."""

    window_rows: int = Field(default=32_768, ge=1)
    """Distinct rows of one channel and event id that are evaluated at once (rows)."""

    window_bytes: int = Field(default=64 << 20, ge=1)
    """Size of the rows and event ids that wait for evaluation (characters); a quarter of it is evaluated at once."""

    memo_rows: int = Field(default=1_000_000, ge=0)
    """Distinct rows whose outcome is remembered, so that they are evaluated once (rows; about 120 bytes each)."""

    threads: int | None = Field(default=None, ge=1)
    """Threads that evaluate; None is one a core (threads)."""
