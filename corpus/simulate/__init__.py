"""Telemetry of an invented company, in native log formats, with labelled attacks: from a seed, without any data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.corpus.simulate.running import simulate
    from logfm.corpus.simulate.templates import load_scenarios

__all__ = ["load_scenarios", "simulate"]

_PLACES = {"load_scenarios": "templates", "simulate": "running"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
