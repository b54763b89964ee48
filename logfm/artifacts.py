"""Artifact folders: every stage writes one, with a manifest, and it appears complete or not at all.

A stage writes into `.NAME.partial` beside its destination and renames the folder when `manifest.json` is in it,
so a killed run leaves nothing that loads. The key in the manifest (stage, configuration, seed, inputs) decides
whether a finished folder is reused, a partial one resumed, or the destination refused.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from logfm.errors import UserError

MANIFEST = "manifest.json"
_KEY = "key"
_PACKAGES = ("logfm", "torch", "lightning", "deepspeed", "transformers", "tokenizers", "datasets", "peft",
             "faiss-cpu", "faiss-gpu", "scikit-learn", "pyod", "pyarrow", "numpy")  # fmt: skip


class File(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What an artifact folder is and where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = 1
    stage: str
    key: str
    config: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    licences: list[str]
    outputs: dict[str, File]
    metrics: dict[str, Any]
    versions: dict[str, str]
    created: datetime
    seconds: float
    peak_memory_bytes: int

    @property
    def hash(self) -> str:
        """SHA-256 over the names and hashes of the files: the identity of the content.

        Manifests of artifacts within this one are left out: they tell when and how long, their files are here too.
        """
        return digest({name: one.sha256 for name, one in self.outputs.items() if not name.endswith(f"/{MANIFEST}")})


@dataclass
class Work:
    """A stage at work: write files under `path`, put figures in `metrics`, add data licences to `licences`."""

    path: Path
    resumed: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    licences: set[str] = field(default_factory=set)


def digest(document: Any) -> str:
    """SHA-256 of a JSON-serialisable document, whatever the order of its keys."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Key(str):
    """The identity of a piece of work, which remembers what it was made from, so that errors can say what differs."""

    config: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str]


def stage_key(stage: str, config: Mapping[str, Any], seed: int, inputs: Mapping[str, str]) -> Key:
    """The identity of a piece of work: equal keys give equal artifacts."""
    key = Key(digest({"stage": stage, "config": dict(config), "seed": seed, "inputs": dict(inputs)}))
    key.config, key.seed, key.inputs = config, seed, inputs
    return key


def difference(key: str, config: Mapping[str, Any], seed: int, inputs: Mapping[str, str]) -> str:
    """What tells a key from earlier work, the first thing of it, for people; nothing where the key doesn't know."""
    if not isinstance(key, Key):
        return ""
    for name in sorted({*inputs, *key.inputs}):
        if inputs.get(name) != key.inputs.get(name):
            return f": its input `{name}` was another one"
    ours, theirs = (dict(_flat(one, "")) for one in (key.config, config))
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            return f": its {name} was {theirs.get(name)}, now it is {ours.get(name)}"
    return f": its seed was {seed}, now it is {key.seed}" if seed != key.seed else ""


def _flat(config: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            shown = orjson.dumps(value).decode()
            yield f"{above}{name}", shown if len(shown) <= 80 else f"{shown[:77]}..."


def read_manifest(folder: Path, stage: str | None = None) -> Manifest:
    """Read the manifest of a finished artifact.

    Raises:
        UserError: no such folder, no artifact, an artifact of another stage, or a file that is missing or cut.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        what = "not a logfm artifact (no manifest.json)" if folder.is_dir() else "no such folder"
        raise UserError(what, folder) from None
    except NotADirectoryError:
        raise UserError("expected a folder, found a file", folder) from None
    except (ValidationError, OSError) as error:
        raise UserError("damaged manifest", folder / MANIFEST, "Build the artifact again.") from error
    if stage is not None and manifest.stage != stage:
        raise UserError(f"expected a folder of the stage {stage}, found one of {manifest.stage}", folder)
    for name, file in manifest.outputs.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != file.bytes:
            raise UserError("damaged artifact: a file is missing or cut", path, "Build the artifact again.")
    return manifest


def finished(out: Path, key: str) -> Manifest | None:
    """The manifest of `out` if the same work already finished there; None if `out` is free.

    Raises:
        UserError: `out` holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if out.is_dir() and not (out / MANIFEST).exists():
        raise UserError("the output folder is not empty", out, "Choose another --out.")
    manifest = read_manifest(out)
    if manifest.key != key:
        raise UserError(
            f"the output folder holds another {manifest.stage} run"
            + difference(key, manifest.config, manifest.seed, manifest.inputs),
            out,
            "Choose another output folder, or delete it.",
        )
    return manifest


@contextmanager
def produce(
    out: Path,
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    seed: int = 0,
    resumable: bool = False,
) -> Iterator[Work]:
    """Run one stage: yields a `Work` to write into; on success its folder becomes `out`, with a manifest.

    `inputs` maps a name to a content hash. With `resumable`, what a killed run left is handed to the next one.

    Raises:
        UserError: `out` is taken or unwritable, is being written by another process, or holds the unfinished
            work of other inputs.
    """
    key = stage_key(stage, config, seed, inputs)
    finished(out, key)
    partial = partial_folder(out)
    with _locked(partial, key, resumable) as resumed:
        work = Work(partial, resumed)
        start = time.monotonic()
        try:
            yield work
        except BaseException:
            if not resumable:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / _KEY).unlink()
        manifest = Manifest(
            stage=stage,
            key=key,
            config=dict(config),
            seed=seed,
            inputs=dict(inputs),
            licences=sorted(work.licences),
            outputs=_files(partial),
            metrics=work.metrics,
            versions=versions(),
            created=datetime.now(UTC),
            seconds=round(time.monotonic() - start, 3),
            peak_memory_bytes=peak_memory(),
        )
        write_atomic(partial / MANIFEST, manifest.model_dump_json(indent=1).encode())
        partial.replace(out)
        _sync(out.parent)


def partial_folder(out: Path) -> Path:
    """Where the unfinished work for `out` lies."""
    return out.parent / f".{out.name}.partial"


@contextmanager
def _locked(partial: Path, key: Key, resumable: bool) -> Iterator[bool]:
    """Make the partial folder ours; yields whether it holds earlier work under the same key."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", partial.parent, "Choose another --out.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another process is writing this folder", partial) from None
        known = partial / _KEY
        left = _left(known)
        if resumable and left is not None and left.pop("key") != key:
            raise UserError(
                f"unfinished work of another configuration or other inputs is in the way{difference(key, **left)}",
                partial,
                "Take that back to go on with it, choose another output folder, or delete it with what it holds.",
            )
        if not resumable or left is None:
            for entry in partial.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            of = {"key": str(key), "config": dict(key.config), "seed": key.seed, "inputs": dict(key.inputs)}
            write_atomic(known, orjson.dumps(of))
            left = None
        yield left is not None
    finally:
        os.close(lock)


def _left(known: Path) -> dict[str, Any] | None:
    """What a partial folder's work is made from, with its key."""
    unknown: dict[str, Any] = {"key": "", "config": {}, "seed": 0, "inputs": {}}
    try:
        left = orjson.loads(known.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:  # of an older version, which wrote the key alone
        return unknown
    return left if isinstance(left, dict) and left.keys() == unknown.keys() else unknown


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    _sync(path.parent)


def versions() -> dict[str, str]:
    """The installed versions of the packages that results depend on."""
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _files(folder: Path) -> dict[str, File]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): File(bytes=path.stat().st_size, sha256=file_hash(path)) for path in paths
    }


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
