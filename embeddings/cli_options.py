"""Options that commands of the room share, and how they show log content."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from logfm.embeddings import LogEncoder

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs, a corpus, vectors of `embed`, or -.")
]
EncoderUri = Annotated[
    str,
    typer.Option("--encoder", help="nano, a folder, st:NAME, hf:NAME, tfidf, py:MODULE:OBJECT, http://HOST/...#MODEL."),
]
Reads = Annotated[str, typer.Option("--reads", help="Of a text: line, or message, what is behind its header.")]
Truncation = Annotated[str, typer.Option("--truncation", help="Of long texts: error, head, head_tail or chunk.")]
Backend = Annotated[str, typer.Option("--backend", help="Of an encoder folder: auto, torch, onnx or onnx-int8.")]
Layers = Annotated[
    str, typer.Option("--layers", help="Whose states count: last, a layer's number, or last:N for the mean of N.")
]
Pooling = Annotated[str, typer.Option("--pooling", help="Of the tokens' states: mean, first or max.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


Bf16 = Annotated[bool, typer.Option("--bf16", help="Products in bfloat16, on the backend torch.")]
Device = Annotated[str, typer.Option("--device", help="auto (a GPU where there is one), cpu or cuda.")]


def load(
    uri: str,
    reads: str = "line",
    truncation: str = "head",
    backend: str = "auto",
    layers: str = "last",
    pooling: str = "mean",
    device: str = "auto",
    *,
    bf16: bool = False,
) -> "LogEncoder":
    """Open the encoder that a command was given, with its options."""
    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import EncoderConfig
    from logfm.embeddings import LogEncoder

    where = "--reads, --truncation, --backend, --layers, --pooling, --bf16, --device"
    options = {"reads": reads, "truncation": truncation, "backend": backend, "layers": layers, "pooling": pooling}
    return LogEncoder.load(uri, parse(EncoderConfig, {**options, "device": device, "bf16": bf16}, where))


def tell_cuts(encoder: "LogEncoder") -> None:
    """Say how many texts were cut, or that it is not known."""
    from logfm.console import say

    if not encoder.tells_cuts:
        say(f"{encoder.name} does not tell which texts it cuts")
    elif encoder.counts.cut:
        say(
            f"{encoder.counts.cut} of {encoder.counts.encoded} different texts were longer than the encoder reads "
            f"({encoder.config.truncation})"
        )


def new_table(*columns: str) -> Any:
    """A table for a terminal; numbers stand on the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        right = column in ("score", "rank", "count", "nats", "distance")
        wraps = column in ("event", "surprising", "rare")
        table.add_column(column, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    return table


def cell(text: str, *below: str, most: int = 500) -> str:
    """Log content for a table: harmless, on few lines; `below` is dimmed."""
    from logfm.console import markup_safe

    def shown(part: str) -> str:
        flat = " ".join(part.split())
        return markup_safe(flat if len(flat) <= most else f"{flat[:most]}…")

    return "\n".join([shown(text), *(f"[dim]{shown(part)}[/dim]" for part in below)])
