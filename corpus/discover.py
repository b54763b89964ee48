"""INPUT to files: a file, a folder, a glob or `-`; unique names, a fixed order, nothing dangerous opened."""

import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import IO

from logfm.corpus.events import Reject
from logfm.errors import UserError

STDIN = "-"


@dataclass(frozen=True)
class Input:
    """One file to read.

    `name` identifies it whatever folder it lies in, `source` is the data set it is taken for, `size` is in bytes,
    `label` is what is shown instead of the path (stdin).
    """

    path: Path
    name: str
    source: str
    size: int
    modified: datetime
    label: str | None = None


def discover(inputs: Sequence[str | Path]) -> tuple[list[Input], list[Reject]]:
    """The files behind `inputs`, sorted by name, and what was passed over.

    A name is the path relative to the folder that was given, or the file's name; where two are equal they are
    lengthened by parent folders. A file that is reached twice is read once.

    Raises:
        UserError: a path does not exist, a glob matches nothing, or there is no file at all.
    """
    if not inputs:
        raise UserError("no input given", fix="Name a file, a folder, a glob, or - for stdin.")
    rejects: list[Reject] = []
    found: dict[str, tuple[Path, PurePath]] = {}
    stdin: Input | None = None
    for given in map(str, inputs):
        if given == STDIN:
            stdin = stdin or _spool_stdin()
            continue
        for path, relative in _expand(given, rejects):
            found.setdefault(os.path.realpath(path), (path, relative))
    inputs_found = [] if stdin is None else [stdin]
    entries = list(found.values())
    for (path, _), name in zip(entries, _unique_names(entries), strict=True):
        try:
            info = path.stat()
        except OSError as error:  # it went away meanwhile
            rejects.append(Reject(shown_path(path), 0, f"cannot be read ({error.strerror})"))
            continue
        modified = datetime.fromtimestamp(max(info.st_mtime, 0), UTC)
        inputs_found.append(Input(path, name, _source(name), info.st_size, modified))
    if not inputs_found:
        reasons = ", ".join(sorted({reject.reason for reject in rejects})) or "no files"
        raise UserError(f"nothing to read ({reasons})", ", ".join(map(str, inputs)))
    return sorted(inputs_found, key=lambda one: one.name), rejects


def opened(path: Path) -> IO[bytes]:
    """Open a regular file for reading; what became a FIFO since it was found does not hang.

    Raises:
        OSError: it cannot be read.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)


def _expand(given: str, rejects: list[Reject]) -> Iterator[tuple[Path, PurePath]]:
    if not given:
        raise UserError("an empty name is no input", fix="Write . for the current folder.")
    path = Path(given).expanduser()
    if path.is_dir():
        yield from _walk(path, path, rejects, set())
    elif os.path.lexists(path):
        if _usable(path, rejects):
            yield path, PurePath(path.name)
    elif any(char in given for char in "*?["):
        base = _fixed_part(path)
        matches = sorted(base.glob(os.path.relpath(path, base)))
        if not matches:
            raise UserError("nothing matches", given)
        for match in matches:
            if _is_folder(match):
                yield from _walk(match, base, rejects, set())
            elif _usable(match, rejects):
                yield match, PurePath(os.path.relpath(match, base))
    else:
        raise UserError("no such file or folder", given)


def _fixed_part(pattern: Path) -> Path:
    """The folder in front of a glob's first wildcard."""
    parts = pattern.parts
    wild = next(number for number, part in enumerate(parts) if any(char in part for char in "*?["))
    return Path(*parts[:wild])


def shown_path(path: Path) -> str:
    """A path as valid text: bytes of a file name that are no UTF-8 are written out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(folder: Path, base: Path, rejects: list[Reject], seen: set[str]) -> Iterator[tuple[Path, PurePath]]:
    """Files under a folder; a folder that was seen (a symlink loop) is not entered again."""
    real = os.path.realpath(folder)
    if real in seen:
        rejects.append(Reject(shown_path(folder), 0, "symbolic link to a folder that is read already"))
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        rejects.append(Reject(shown_path(folder), 0, f"cannot be read ({error.strerror})"))
        return
    for entry in entries:
        path = folder / entry.name
        if _is_folder(path):
            if entry.name != "__MACOSX":
                yield from _walk(path, base, rejects, seen)
        elif not entry.name.startswith("._") and _usable(path, rejects):
            yield path, PurePath(os.path.relpath(path, base))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it is locked; `_usable` says so
        return False


def _usable(path: Path, rejects: list[Reject]) -> bool:
    reason = None
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            reason = "not a regular file"
        elif not os.access(path, os.R_OK):
            reason = "cannot be read (Permission denied)"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    if reason is not None:
        rejects.append(Reject(shown_path(path), 0, reason))
    return reason is None


def _unique_names(entries: list[tuple[Path, PurePath]]) -> list[str]:
    """The relative names, with as many parent folders in front as it takes to tell them apart."""
    absolute = [Path(os.path.normpath(path.absolute())) for path, _ in entries]
    depths = [len(relative.parts) for _, relative in entries]
    while True:
        names = [shown_path(Path(*path.parts[-depth:])) for path, depth in zip(absolute, depths, strict=True)]
        clashing = {name for name, count in Counter(names).items() if count > 1}
        longer = [
            depth + (name in clashing and depth < len(path.parts))
            for path, depth, name in zip(absolute, depths, names, strict=True)
        ]
        if longer == depths:
            return names
        depths = longer


def _source(name: str) -> str:
    """The top folder, or the file's name up to its first dot."""
    parts = PurePath(name).parts
    return parts[0] if len(parts) > 1 else parts[0].lstrip(".").split(".")[0] or name


def _spool_stdin() -> Input:
    """Keep standard input in a temporary file, which vanishes with this process."""
    spool = tempfile.NamedTemporaryFile(prefix="logfm-stdin-")  # noqa: SIM115 (lives as long as the process)
    shutil.copyfileobj(sys.stdin.buffer, spool)
    spool.flush()
    _spools.append(spool)
    size = Path(spool.name).stat().st_size
    return Input(Path(spool.name), "stdin", "stdin", size, datetime.now(UTC), "stdin")


_spools: list[object] = []
