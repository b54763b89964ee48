"""Sigma rules over events: which rule fired on which event, its level and its techniques.

Rules come as YAML from a folder or a zip, become SQL through pySigma, and run in DuckDB. Loaded when first used, as
they need the extra `rules`.
"""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.corpus.rules.compiling import Rule, RuleSet, compile_rules, load_rules
    from logfm.corpus.rules.running import HITS, NEEDED, Counts, fired
    from logfm.corpus.rules.stage import run_rules

__all__ = ["HITS", "NEEDED", "Counts", "Rule", "RuleSet", "compile_rules", "fired", "load_rules", "run_rules"]

_PLACES = {
    "Rule": "compiling",
    "RuleSet": "compiling",
    "compile_rules": "compiling",
    "load_rules": "compiling",
    "HITS": "running",
    "NEEDED": "running",
    "Counts": "running",
    "fired": "running",
    "run_rules": "stage",
}
_NEEDED = ("duckdb", "sigma.backends.sqlite", "sigma.pipelines.sysmon", "sigma.pipelines.windows")

__getattr__ = lazy(__name__, _PLACES, "rules", _NEEDED)
