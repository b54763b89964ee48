"""The encoder at work: vectors, search, unsupervised detection, explanations. No training is needed to use it."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

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

__getattr__ = lazy(__name__, _HOMES)
