"""What is known of each public data set: one YAML file each under `entries/`."""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from logfm.configs import Config
from logfm.configs.base import parse, read_yaml
from logfm.errors import UserError

ENTRIES = Path(__file__).parent / "entries"
LabelLevel = Literal["event", "window", "session", "capture", "none"]


class Dataset(Config):
    """A public data set. What could not be learned from its publishers is null, and `notes` says so."""

    name: str
    title: str
    format: str
    """The files as they are published."""
    size_bytes: int | None = None
    """Bytes of the download; null where unknown."""
    unpacked_bytes: int | None = None
    """Bytes when unpacked; null where unknown."""
    events: int | None = None
    """Records in the whole set; null where unknown."""
    labels: str
    """What the labels say."""
    label_level: LabelLevel
    """What one label holds for; "capture" is a whole recording, most of which may be background."""
    techniques: bool = False
    """Whether ATT&CK techniques are given."""
    licence: str | None
    """As the publisher states it; null where none is stated or none could be verified."""
    non_commercial: bool | None
    """Whether commercial use is excluded; null where unknown."""
    url: str
    """The page on which the data set is published."""
    citation: str
    checksum: dict[str, str] | None = None
    """File name -> "algorithm:hex digest" as the publisher gives it."""
    reader: str
    """The module and function under `readers/` that knows the native layout."""
    layout: str
    """What the downloaded copy looks like, and what the reader makes of it."""
    notes: str | None = None

    @property
    def licence_text(self) -> str:
        """The licence as it travels in manifests and model cards, with the flag for non-commercial use."""
        text = self.licence or f"licence not known ({self.name})"
        if self.non_commercial and "non-commercial" not in text.lower():
            return f"{text} (non-commercial)"
        return text


@lru_cache(maxsize=1)
def datasets() -> dict[str, Dataset]:
    """Every data set of the catalogue by name, sorted."""
    found = [parse(Dataset, read_yaml(path), path) for path in sorted(ENTRIES.glob("*.yaml"))]
    return {one.name: one for one in found}


def dataset(name: str) -> Dataset:
    """The entry of that name.

    Raises:
        UserError: there is none.
    """
    known = datasets()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else "See: logfm corpus catalog"
    raise UserError("no data set of that name in the catalogue", name, hint)
