"""Commands of what is trained on labels."""

from pathlib import Path
from typing import Annotated, Any

import typer


def finetune_command(
    config: Annotated[str, typer.Argument(help="A YAML file, or a recipe: see `logfm configs list`.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key: a.b=value. Repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Train a head on labelled events, and measure it on events that it never saw: over a frozen encoder, or, where
    the configuration names a `decoder`, an adapter of a small language model.

    The same command resumes a killed run.
    """
    from logfm.configs import load
    from logfm.configs.base import find, read_yaml
    from logfm.configs.schema.finetune import FinetuneConfig
    from logfm.console import emit_json, say, stdout
    from logfm.extras import require

    if "decoder" in read_yaml(find(config)):
        from logfm.finetune.decoder.cli import train

        train(config, set_ or [], as_json)
        return
    resolved = load(FinetuneConfig, config, set_ or [])
    require("torch", "embed")
    if resolved.head.kind == "gnn":
        require("torch_geometric", "gnn")
    from logfm.finetune.running import finetune

    metrics = finetune(resolved).metrics
    if as_json:
        emit_json({"out": str(resolved.out), **metrics})
        return
    stdout.print(_figures(metrics, resolved.head.kind))
    say(f"head: {resolved.out}")


def classify_command(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs, a corpus, or -.")],
    head: Annotated[Path, typer.Option("--head", help="Folder that `logfm finetune` wrote.")],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="The same encoder in another place; by default the head knows.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Sequences to show; --json gives all.")] = 20,
    mode: Annotated[
        str, typer.Option("--mode", help="A decoder's answers: constrained to its grammar, or free.")
    ] = "constrained",
    product: Annotated[
        str | None, typer.Option("--product", help="Alert triage: the product that wrote the logs, as in training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Classify the sequences of an input with a trained head, the most abnormal first."""
    from dataclasses import asdict

    from logfm.console import emit_json, markup_safe, say, stdout
    from logfm.extras import require

    require("torch", "embed")
    from logfm.artifacts import read_manifest

    if read_manifest(head).stage == "decoder":
        from logfm.finetune.decoder.cli import answer

        answer(inputs, head, mode, top, as_json, product)
        return
    from logfm.embeddings import LogEncoder
    from logfm.finetune.classify import classify, head_encoding

    loaded = None if encoder is None else LogEncoder.load(encoder, head_encoding(head))
    found = classify(inputs, head, loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = _table("score", "label", "events", "first event")
    for one in found.verdicts[:top]:
        text = " ".join(one.text.split())
        shown = markup_safe(text if len(text) <= 500 else f"{text[:500]}…")
        place = markup_safe(f"{one.group} · {one.file}:{one.offset}")
        table.add_row(f"{one.score:.4f}", markup_safe(one.label), str(one.events), f"{shown}\n[dim]{place}[/dim]")
    stdout.print(table)
    normal = found.classes[0]
    other = sum(one.label != normal for one in found.verdicts)
    said = "" if found.threshold is None else f" (threshold {found.threshold:.3g})"
    say(f"{other} of {len(found.verdicts)} sequences are not {normal}{said}")
    if found.cut:
        say(f"{found.cut} sequences were longer than the head reads: it read their beginnings and ends")


def merge_command(
    head: Annotated[Path, typer.Argument(help="Folder of a decoder head that `logfm finetune` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
) -> None:
    """Merge a decoder head's adapter into its language model: a folder that transformers opens without logfm."""
    from logfm.console import say
    from logfm.finetune.decoder.cli import write_merged

    write_merged(head, out)
    say(f"merged model: {out}")


def _figures(metrics: dict[str, Any], kind: str) -> Any:
    shown = ("sequences", "attack_share", "pr_auc", "precision", "recall", "f1", "macro_f1", "accuracy",
             "majority_accuracy")  # fmt: skip
    columns = [name for name in shown if name in metrics["test"]]
    table = _table("model", "part", *columns)
    rows = [(kind, name, metrics[name]) for name in ("train", "validation", "test")]
    for name, one in metrics.get("logistic_regression", {}).items():
        rows.append(("logistic regression", name, one))
    for model, part, one in rows:
        table.add_row(model, part, *(str(one[column]) for column in columns))
    return table


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        words = column in ("model", "part", "label", "first event")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table
