"""The catalogue of public data sets, and the readers that turn a downloaded copy of one into labelled events."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

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

__getattr__ = lazy(__name__, _PLACES)
