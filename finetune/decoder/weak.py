"""Sigma rules as weak labels of single events."""

from collections.abc import Sequence

from logfm.configs.schema.cases import SigmaConfig
from logfm.corpus.streaming import stream
from logfm.extras import require

LEVELS = ("informational", "low", "medium", "high", "critical")


def sigma_hits(inputs: Sequence[str], config: SigmaConfig) -> dict[str, tuple[str, ...]]:
    """The ids of an INPUT's events on which a rule of the level or above fired, and the techniques of those rules.

    Raises:
        UserError: no such input or rules, or the extra `rules` is not installed.
    """
    require("duckdb", "rules")
    from logfm.corpus.rules import NEEDED, fired, load_rules

    rules = load_rules(config.rules)
    least = LEVELS.index(config.level)
    found: dict[str, set[str]] = {}
    for batch in fired(stream(inputs, NEEDED), rules):
        columns = (batch.column(name).to_pylist() for name in ("event_id", "level", "techniques"))
        for event_id, level, techniques in zip(*columns, strict=True):
            if level in LEVELS and LEVELS.index(level) >= least:
                found.setdefault(event_id, set()).update(techniques)
    return {event_id: tuple(sorted(techniques)) for event_id, techniques in found.items()}
