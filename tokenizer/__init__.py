"""Log-aware byte-level BPE: content and delimiters never share a token, so each id is one or the other."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.tokenizer.extension import extend
    from logfm.tokenizer.log_tokenizer import LogTokenizer
    from logfm.tokenizer.reporting import report
    from logfm.tokenizer.stray_bytes import escape, unescape
    from logfm.tokenizer.training import train

_HOMES = {
    "LogTokenizer": "log_tokenizer",
    "escape": "stray_bytes",
    "extend": "extension",
    "report": "reporting",
    "train": "training",
    "unescape": "stray_bytes",
}

__all__ = ["LogTokenizer", "escape", "extend", "report", "train", "unescape"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
