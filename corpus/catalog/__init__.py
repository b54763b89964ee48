"""The catalogue of public data sets, and the readers that turn a downloaded copy of one into labelled events."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logfm.corpus.catalog.catalogue import Dataset, LabelLevel, dataset, datasets
    from logfm.corpus.catalog.labeller import Labeller, labeller_of, read_dataset

__all__ = ["Dataset", "LabelLevel", "Labeller", "dataset", "datasets", "labeller_of", "read_dataset"]

_PLACES = {
    "Dataset": "catalogue",
    "LabelLevel": "catalogue",
    "Labeller": "labeller",
    "dataset": "catalogue",
    "datasets": "catalogue",
    "labeller_of": "labeller",
    "read_dataset": "labeller",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
