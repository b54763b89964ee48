"""Telemetry of an invented company, in native log formats, with labelled attacks: from a seed, without any data."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.corpus.simulate.running import simulate
    from logfm.corpus.simulate.sessions_run import simulate_sessions
    from logfm.corpus.simulate.templates import load_scenarios

__all__ = ["load_scenarios", "simulate", "simulate_sessions"]

_PLACES = {"load_scenarios": "templates", "simulate": "running", "simulate_sessions": "sessions_run"}

__getattr__ = lazy(__name__, _PLACES)
