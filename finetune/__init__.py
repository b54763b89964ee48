"""What is trained on labels over a frozen encoder: heads over sequences of events."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.finetune.heads import Head
    from logfm.finetune.sequences import Sequences

__all__ = ["Head", "Sequences"]

_HOMES = {"Head": "heads", "Sequences": "sequences"}

__getattr__ = lazy(__name__, _HOMES, "embed", ("torch",))
