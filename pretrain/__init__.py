"""Pretraining: the encoder, delimiter-aware masking, packing, training, export."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

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

__getattr__ = lazy(__name__, _HOME)
