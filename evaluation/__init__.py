"""The suite: relevance labels, metrics, baselines, statistics and reports."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from logfm.extras import require

if TYPE_CHECKING:
    from logfm.evaluation.baselines import random_vectors, tfidf
    from logfm.evaluation.comparison import Comparison, compare
    from logfm.evaluation.projection import project
    from logfm.evaluation.report import render
    from logfm.evaluation.report_data import QuickstartReport, attack_part, comparison_part
    from logfm.evaluation.templates import message_of, strip_label, template_labels

# `similarity` and `search` are imported from their own modules, whose names they share.
__all__ = [
    "Comparison",
    "QuickstartReport",
    "attack_part",
    "compare",
    "comparison_part",
    "message_of",
    "project",
    "random_vectors",
    "render",
    "strip_label",
    "template_labels",
    "tfidf",
]

_HOMES = {
    "Comparison": "comparison",
    "QuickstartReport": "report_data",
    "attack_part": "report_data",
    "compare": "comparison",
    "comparison_part": "report_data",
    "message_of": "templates",
    "project": "projection",
    "random_vectors": "baselines",
    "render": "report",
    "strip_label": "templates",
    "template_labels": "templates",
    "tfidf": "baselines",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: importing the room stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "render":
        require("jinja2", "eval")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
