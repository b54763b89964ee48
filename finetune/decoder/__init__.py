"""Small language models with LoRA adapters that classify events and name ATT&CK techniques."""

from typing import TYPE_CHECKING

from logfm.finetune.decoder.answers import Answer, Case, Grammar, Slot
from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.finetune.decoder.generating import Prediction
    from logfm.finetune.decoder.head import DecoderHead, merge

__all__ = ["Answer", "Case", "DecoderHead", "Grammar", "Prediction", "Slot", "merge"]

_HOMES = {"DecoderHead": "head", "Prediction": "generating", "merge": "head"}

__getattr__ = lazy(__name__, _HOMES, "decoder", ("torch", "transformers"))
