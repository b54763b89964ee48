"""Whether a checkpoint can be read, told before a run or an export relies on it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from logfm.console import say
from logfm.errors import UserError
from logfm.pretrain.strategy import global_rank


def damage(checkpoint: Path, ranks: int | None = None) -> str | None:
    """What is wrong with a checkpoint, a Lightning file or a DeepSpeed folder written by so many `ranks`; None if
    nothing is. All of its bytes are held to their checksums, at about a gigabyte a second.
    """
    if not checkpoint.is_dir():
        return _file_damage(checkpoint) or _layout_damage(checkpoint)
    shards = sorted((checkpoint / "checkpoint").glob("*_states.pt"))
    optimizers = sum(shard.name.endswith("optim_states.pt") for shard in shards)
    if optimizers == len(shards):
        return "the weights are missing"
    if ranks is not None and optimizers != ranks:
        return f"{optimizers} shards of {ranks} are there"
    return next((f"{shard.name}: {found}" for shard in shards if (found := _file_damage(shard))), None)


def _file_damage(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        return f"{type(error).__name__}: {error}"
    return None if broken is None else f"wrong checksum of {broken}"


def _layout_damage(path: Path) -> str | None:
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # noqa: BLE001  torch tells damage by errors of many kinds; whichever, it is unreadable
        return type(error).__name__
    return None


def sound_step(saved: Mapping[int, Path], ranks: int) -> int | None:
    """The newest step whose checkpoint can be read; None where there is no checkpoint.

    Newer ones are set aside under another name, and people are told; every rank comes to the same step.

    Raises:
        UserError: none of them can be read.
    """
    broken: list[tuple[Path, str]] = []
    for step in sorted(saved, reverse=True):
        found = damage(saved[step], ranks)
        if found is None:
            break
        broken.append((saved[step], found))
    else:
        if broken:
            path, found = broken[0]
            raise UserError(f"no checkpoint can be read ({found})", path, "Delete the unfinished run to begin again.")
        return None
    for path, found in broken if global_rank() == 0 else ():
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        say(f"cannot read the checkpoint {path} ({found}): kept as {aside.name}, going on from an older one")
    return step
