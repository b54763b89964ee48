"""Reading a downloaded copy: the readers of `corpus.read`, and what the data set's own layout adds to them."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.catalog.catalogue import Dataset, dataset
from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Reader
from logfm.corpus.discover import discover
from logfm.corpus.events import Event, Reject
from logfm.corpus.leaf import Leaf
from logfm.corpus.read import read_input
from logfm.corpus.readers.registry import Format
from logfm.errors import UserError

_DOCUMENTS = re.compile(
    r"(?:^|/)(?:readme|licen[cs]e|citation|changelog)(?:\.(?:md|txt|rst|cff|gpl))?$|\.(?:md|pdf|docx?|xlsx?|py|ipynb|png|jpe?g|html?)$"
    r"|(?:^|/)\.git(?:/|$|ignore|attributes|modules)",
    re.IGNORECASE,
)
_FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)


class Labeller:
    """A data set's layout applied to a copy: which files are logs, in which format, and each event's label.

    It is made anew from its name and folder where it is unpickled, so that worker processes can have one.
    """

    def __init__(self, name: str, root: str | Path) -> None:
        """Raises UserError: no such data set, or no such folder."""
        self.dataset: Dataset = dataset(name)
        self.root = Path(root)
        if not self.root.exists():
            raise UserError("no such file or folder", root)
        self._copy = Copy(self.root)
        self._layout: Layout = _reader(self.dataset.reader)(self._copy)

    def __reduce__(self) -> tuple[Any, ...]:
        return Labeller, (self.dataset.name, os.fspath(self.root))

    @property
    def name(self) -> str:
        """The data set."""
        return self.dataset.name

    def skip(self, file: str) -> str | None:
        """Why a file of the copy is no log (labels, documentation); None if it is one."""
        path = self._copy.relative(file)
        return "documentation of the data set" if _DOCUMENTS.search(path) else self._layout.skip(path)

    def open(self, leaf: Leaf) -> tuple[Format | None, Edit | None]:
        """The format where the content does not tell it, and what is to be done to each event of a file.

        Events keep their identity: `file`, `offset` and `event_id` are those of the untouched record.
        """
        edit, form = self._layout.open(leaf, self._copy.relative(leaf.file))
        return form, None if edit is None else _guarded(edit)


def _guarded(edit: Edit) -> Edit:
    """What a label or record of an unforeseen form must not do is end the file."""

    def safe(event: Event) -> Event | Reject:
        try:
            return edit(event)
        except _FAULTS as error:
            return Reject(event.file, event.offset, f"label not understood ({type(error).__name__})")

    return safe


def _reader(name: str) -> Reader:
    module, _, function = name.partition(".")
    found: Reader = getattr(import_module(f"logfm.corpus.catalog.readers.{module}"), function)
    return found


@lru_cache(maxsize=4)
def labeller_of(name: str, root: str) -> Labeller:
    """The labeller of a copy, made once a process: its label files are read when they are first needed.

    Raises:
        UserError: no such data set, or no such folder.
    """
    return Labeller(name, root)


def read_dataset(name: str, folder: str | Path, config: CorpusConfig | None = None) -> Iterator[Event | Reject]:
    """The labelled events of a downloaded copy, in a deterministic order, as a stream.

    `label`, `techniques` and `session_id` are the data set's; nothing of them is left in `text` and `fields`.

    Raises:
        UserError: no such data set or folder, nothing to read, or a label file is unreadable.
    """
    config = config or CorpusConfig()
    labels = Labeller(name, folder)
    found, rejects = discover([folder])
    yield from rejects
    for one in found:
        for part in read_input(one, config, labels=labels):
            yield from part.records
