"""A downloaded copy of a data set: what lies in it, also inside zips, and the label files among that."""

import bz2
import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from logfm.errors import UserError

_MOST = 2 << 30  # unpacked bytes of a label file that is read line by line
_LARGEST = 64 << 20  # and of one that is read as a whole
_LONGEST = 1 << 20
_FAULTS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


class Copy:
    """A folder (or one file and its neighbours). Paths in it are relative; an archive is a folder of its members."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._single = self.root.is_file()
        self._base = self.root.parent if self._single else self.root
        self._places: dict[str, tuple[Path, str | None]] | None = None

    def relative(self, file: str) -> str:
        """The path inside the copy of a file as events name it (`PATH` or `PATH!MEMBER`)."""
        return os.path.relpath(Path(file).absolute(), self._base).replace("!", "/")

    def paths(self) -> list[str]:
        """Every file of the copy, and every member of a zip in it."""
        return list(self._index())

    def find(self, pattern: str) -> list[str]:
        """The paths that match a regular expression, case ignored, sorted."""
        wanted = re.compile(pattern, re.IGNORECASE)
        return sorted(path for path in self._index() if wanted.search(path))

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._index()

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a label file, decompressed; none where there is no such file.

        Raises:
            UserError: it cannot be read, or is implausibly large.
        """
        if not self.has(path):
            return
        size = 0
        with self._open(path) as stream:
            while line := stream.readline(_LONGEST):
                size += len(line)
                if size > _MOST or (len(line) == _LONGEST and not line.endswith(b"\n")):
                    raise UserError("too large for a label file", path)
                yield line.decode("utf-8-sig", "replace").rstrip("\r\n")

    def text(self, path: str) -> str:
        """A whole label file, empty where there is none.

        Raises:
            UserError: as `lines`.
        """
        if not self.has(path):
            return ""
        with self._open(path) as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UserError("too large for a label file", path)
        return content.decode("utf-8-sig", "replace")

    def _index(self) -> dict[str, tuple[Path, str | None]]:
        if self._places is None:
            self._places = dict(sorted(self._walk()))
        return self._places

    def _walk(self) -> Iterator[tuple[str, tuple[Path, str | None]]]:
        seen: set[str] = set()
        for folder, folders, files in os.walk(self._base, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:  # a loop of links
                folders[:] = []
                continue
            seen.add(real)
            folders[:] = [] if self._single else sorted(one for one in folders if one not in ("__MACOSX", ".git"))
            for name in files:
                path = Path(folder, name)
                relative = os.path.relpath(path, self._base)
                if path.is_file():
                    yield relative, (path, None)
                    if name.lower().endswith(".zip"):
                        for member in _members(path):
                            yield f"{relative}/{member}", (path, member)

    @contextmanager
    def _open(self, path: str) -> Iterator[IO[bytes]]:
        place, member = self._index()[path]
        try:
            if member is not None:
                with zipfile.ZipFile(place) as archive, archive.open(member) as stream:
                    yield stream
            else:
                unpack: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(place.suffix, open)
                with unpack(place, "rb") as stream:
                    yield stream
        except _FAULTS as error:
            raise UserError(f"cannot read the label file ({type(error).__name__})", path) from error


def _members(path: Path) -> list[str]:
    """The names in a zip, none if it is damaged: its reading will report that."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except _FAULTS:
        return []
