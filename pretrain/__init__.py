"""Pretraining: the encoder, delimiter-aware masking, packing, training, export."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.pretrain.encoder import PretrainedEncoder, load_encoder
    from logfm.pretrain.export import export_checkpoint
    from logfm.pretrain.run import Outcome, pretrain

__all__ = ["Outcome", "PretrainedEncoder", "export_checkpoint", "load_encoder", "pretrain"]

_HOME = {
    "Outcome": "run",
    "PretrainedEncoder": "encoder",
    "export_checkpoint": "export",
    "load_encoder": "encoder",
    "pretrain": "run",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: importing the room loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
