"""Checkpoints that appear whole or not at all, and one line for what stops a run from outside."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from logfm.errors import LogfmError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch's writer hides the system's error behind its own.
_WRITER = ("file write failed", "PytorchStreamWriter", "unexpected pos")
_PEER = (
    "gloo",
    "Connection closed by peer",
    "Connection reset by peer",
    "NCCL",
    "TCPStore",
    "Timed out",
    "Broken pipe",
)
# What allocators say besides torch's own error.
_MEMORY = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "STATUS_ALLOC_FAILED", "bad_alloc")
_GO_ON = "the last checkpoint is intact, the same command goes on from it"


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes beside the checkpoint's place and renames, so that a kill at any moment leaves no cut file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write one file.

        Raises:
            LogfmError: it cannot be written; what was there before is untouched.
        """
        path = Path(path)
        with replacing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = unfinished(path)
            with temporary.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)


def unfinished(path: Path) -> Path:
    """Where a checkpoint lies while it is being written."""
    return path.with_name(f".{path.name}.partial")


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Delete what killed runs left half-written."""
    for path in folder.glob(".*.partial"):
        remove(path)


@contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Around the writing of a checkpoint: on failure its unfinished part goes.

    Raises:
        LogfmError: the writing failed; says what is left.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = _no_space(error)
        if reason is None:
            raise
        remove(unfinished(path))
        raise LogfmError(f"cannot write the checkpoint {path} ({reason}); {_GO_ON}") from error


def _no_space(error: BaseException) -> str | None:
    """Why a write failed, in words; None if the error is something else."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return os.strerror(seen.errno)
        seen = seen.__cause__ or seen.__context__
    return "the file system took no more" if any(part in str(error) for part in _WRITER) else None


@contextmanager
def enough_memory() -> Iterator[None]:
    """Around training: memory that gives out is a single line.

    Raises:
        LogfmError: the device, or the host, has no more.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(p in str(error) for p in _MEMORY):
            raise
        raise LogfmError(
            "out of memory: set train.activation_checkpointing (the same command then goes on from the last "
            "checkpoint), or lower data.tokens_per_batch; see logfm plan"
        ) from error


@contextmanager
def one_line(ranks: int, minutes: float) -> Iterator[None]:
    """Around training on several ranks: another one that ended or hangs is a single line, not gloo's or NCCL's trace.

    Raises:
        LogfmError: another process is gone, or did not answer for `minutes`.
    """
    try:
        yield
    except RuntimeError as error:
        if ranks == 1 or not any(part in str(error) for part in _PEER):
            raise
        raise LogfmError(
            f"another process of the run ended, or gave no sign for {minutes:g} minutes (its own message says why); "
            f"{_GO_ON}"
        ) from error
