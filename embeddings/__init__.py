"""The encoder at work: vectors, search, unsupervised detection, explanations. No training is needed to use it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.embeddings.detect import Detection, Finding
    from logfm.embeddings.encoder import Encoder, LogEncoder
    from logfm.embeddings.explain import Explanation, TokenSurprise
    from logfm.embeddings.search import Hit, Index

# Functions are imported from their own modules: `embed`, `detect` and `explain` share their module's name.
__all__ = ["Detection", "Encoder", "Explanation", "Finding", "Hit", "Index", "LogEncoder", "TokenSurprise"]

_HOMES = {
    "Detection": "detect",
    "Encoder": "encoder",
    "Explanation": "explain",
    "Finding": "detect",
    "Hit": "search",
    "Index": "search",
    "LogEncoder": "encoder",
    "TokenSurprise": "explain",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: importing the room stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
