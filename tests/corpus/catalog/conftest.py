import bz2
import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.catalog import read_dataset
from logfm.corpus.events import Event, Reject

Read = Callable[..., tuple[list[Event], list[Reject]]]


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of a miniature copy: text or bytes, packed as its name says; a dictionary becomes a zip."""

    def run(name: str, content: str | bytes | dict[str, str]) -> Path:
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            with zipfile.ZipFile(path, "w") as archive:
                for member, text in content.items():
                    archive.writestr(member, text)
            return path.parent
        raw = content.encode() if isinstance(content, str) else content
        pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
        path.write_bytes(pack(raw))
        return path

    return run


@pytest.fixture
def labelled(tmp_path: Path) -> Read:
    """Read the miniature (or another folder) as a data set: its events and rejects."""

    def run(name: str, folder: Path | None = None, **settings: object) -> tuple[list[Event], list[Reject]]:
        records = list(read_dataset(name, folder or tmp_path / "copy", CorpusConfig(**settings)))
        return (
            [one for one in records if isinstance(one, Event)],
            [one for one in records if isinstance(one, Reject)],
        )

    return run
