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
    checkpoint: Annotated[
        Path, typer.Argument(help="A run, a .ckpt file, a DeepSpeed folder, or an encoder (nano too).")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    world_size: Annotated[
        int | None,
        typer.Option("--world-size", min=1, help="Write the training's state for so many processes instead."),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write a graph for ONNX Runtime, too.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Write one in 8-bit integers.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in 16-bit floats.")] = False,
    results: Annotated[
        Path | None, typer.Option("--results", help="results.csv of `logfm eval run`, for the model card.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option("--audit", help="What benchmarks/memorisation.py wrote, for the card.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="SPDX id of the weights' licence.")] = None,
) -> None:
    """Turn a checkpoint into an encoder folder that transformers and sentence-transformers open, with a model card.

    With --world-size, into a folder from which `logfm pretrain` goes on with another number of processes.
    """
    from logfm.console import say
    from logfm.extras import require

    if world_size is not None:
        require("lightning", "train")
        from logfm.pretrain.reshape import CONFIG, reshape_checkpoint

        reshape_checkpoint(checkpoint, out, world_size)
        say(f"go on with: logfm pretrain {out / CONFIG}")
        return

    require("torch", "embed")
    if onnx or int8:
        require("onnx", "onnx")
        require("onnxruntime", "onnx")
    from logfm.pretrain.export import Extras, export_checkpoint

    export_checkpoint(checkpoint, out, Extras(onnx, int8, half, results, audit, licence))
    say(f"encoder: {out}")


def plan_command(
    config: Annotated[
        str | None, typer.Argument(help="A YAML file, or a recipe: see `logfm configs list`.", show_default=False)
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key: a.b=value. Repeatable.")] = None,
    tokens: Annotated[
        float | None, typer.Option("--tokens", min=1, help="Training tokens, for example 77e9; else from the config.")
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", min=3, help="Tokens of an event; by default data.max_tokens.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=1, help="By default the tokenizer's, else 29,952.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option("--utilisation", min=0.001, max=1, help="Share of a device's peak that is reached.")
    ] = 0.35,
    gpus: Annotated[str, typer.Option("--gpus", help="YAML file of devices and prices; see the recipe gpus.")] = "gpus",
    on: Annotated[list[str] | None, typer.Option("--on", help="Only the device of this name. Repeatable.")] = None,
    papers: Annotated[bool, typer.Option("--papers", help="The arithmetic of published runs instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """What a pretraining run will take: parameters, tokens, FLOPs, memory a device, hours and cost."""
    from logfm.console import emit_json
    from logfm.errors import UserError
    from logfm.pretrain.plan_report import show_papers, show_plan

    if papers:
        from logfm.pretrain.paper_arithmetic import by_our_formula, published_runs

        published, ours = published_runs(), by_our_formula()
        if json:
            emit_json({"published": published, "by_our_formula": ours})
        else:
            show_papers(published, ours)
        return
    if config is None:
        raise UserError("no configuration is given", fix="For example: logfm plan pretrain/base")
    from logfm.configs import load
    from logfm.configs.schema.pretrain import PretrainConfig
    from logfm.pretrain.devices import chosen, load_devices
    from logfm.pretrain.planning import plan

    table = load_devices(gpus)
    devices = chosen(table, on) if on else table.devices
    planned = plan(load(PretrainConfig, config, set_ or []), devices, vocab_size, tokens, length, utilisation)
    if json:
        emit_json(planned | {"prices_as_of": table.prices_as_of.isoformat()})
    else:
        show_plan(planned, table.prices_as_of)
