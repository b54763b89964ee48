"""Commands of the pretraining room."""

from pathlib import Path
from typing import Annotated

import typer


def pretrain_command(
    config: Annotated[str, typer.Argument(help="A YAML file, or a recipe: see `logfm configs list`.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key: a.b=value. Repeatable.")] = None,
) -> None:
    """Pretrain an encoder: token shards, training with checkpoints, and the exported encoder folder.

    The same command resumes a killed run and reuses what is finished.
    """
    from logfm.configs import load
    from logfm.configs.schema.pretrain import PretrainConfig
    from logfm.console import say
    from logfm.extras import require

    resolved = load(PretrainConfig, config, set_ or [])
    require("lightning", "train")
    require("datasets", "train")
    from logfm.pretrain import pretrain

    outcome = pretrain(resolved)
    if outcome is not None:
        say(f"encoder: {resolved.out / 'encoder'}")


def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="A run folder, a .ckpt file, or a DeepSpeed checkpoint folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
) -> None:
    """Turn a checkpoint into an encoder folder that transformers and sentence-transformers open."""
    from logfm.console import say
    from logfm.extras import require

    require("torch", "embed")
    from logfm.pretrain import export_checkpoint

    export_checkpoint(checkpoint, out)
    say(f"encoder: {out}")
