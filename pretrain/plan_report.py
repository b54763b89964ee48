"""A plan as tables for people."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from logfm.console import markup_safe, stdout

_CPU = (
    "On a cpu: beside the 0.6 GB of the libraries, for batches of one shape. Where lengths differ from batch to batch, "
    "kernels and holes of each shape take as much again."
)
_OFFLOADED = {"none": "", "optimizer": " + optimizer on the host", "parameters": " + optimizer, weights on the host"}


def show_plan(plan: dict[str, Any], prices_as_of: object) -> None:
    """Print a plan's tables on stdout."""
    weights, tokens, flops = plan["parameters"], plan["tokens"], plan["flops"]
    parts = ("words", "positions", "layers", "head", "decoder", "embeddings", "exported", "all", "trainable")
    _table("Parameters", ("part", "number"), ((part, _short(weights[part])) for part in parts))
    rows = [
        (f"planned ({tokens['source']})", _short(tokens["planned"])),
        ("compute-optimal", _short(tokens["compute_optimal"])),
        ("planned a parameter", f"{tokens['per_parameter']:.1f}"),
        ("planned a trainable parameter", f"{tokens['per_trainable_parameter']:.1f}"),
    ]
    _table(f"Tokens (vocabulary {weights['vocabulary']:,})", ("what", "number"), rows)
    by_length = (
        (f"{row['length']:,}", _short(row["per_token"]), f"{row['attention_share']:.0%}") for row in flops["by_length"]
    )
    title = f"FLOPs: {flops['total']:.3g} at {flops['length']:,} tokens an event"
    _table(title, ("tokens an event", "FLOPs a token", "of that attention"), by_length)
    columns = ("weights", "gradients", "optimizer", "buffers", "activations", "total", "host")
    memory = (
        (row["on"], f"{row['stage']}{_OFFLOADED[row['offload']]}", *(_gigabytes(row[name]) for name in columns))
        for row in plan["memory"]
    )
    _table("Memory of one device at its peak, GB", ("on", "ZeRO stage", *columns), memory)
    stdout.print(_CPU, soft_wrap=True)
    devices = (
        (
            *(markup_safe(row["name"]), str(row["devices"]), _short(row["tokens"])),
            *(_hours(row["hours"]), _dollars(row["dollars"]), _fits(row)),
        )
        for row in plan["devices"]
    )
    title = f"Hours and cost at {plan['utilisation']:.0%} of the peak; prices of {prices_as_of} are assumptions"
    _table(title, ("device", "number", "tokens", "hours", "US dollars", "fits at ZeRO stage"), devices)
    if tokens["minutes"] is not None:
        stdout.print(f"Training ends after {tokens['minutes']:g} minutes (train.minutes), planned tokens or not.")
    stdout.print(markup_safe(f"FLOPs: {flops['formula']}."), soft_wrap=True)


def show_papers(published: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> None:
    """Print the arithmetic of published runs on stdout."""
    rows = [
        (
            row["run"],
            _short(row["parameters"]),
            _short(row["trainable"]),
            _short(row["tokens"]),
            f"{row['tokens_per_parameter']:.1f}",
            f"{row['tokens_per_trainable_parameter']:.1f}",
            _short(row["compute_optimal_tokens"]),
            f"{row['flops']:.3g}",
            "" if row["gpu_hours"] is None else f"{row['gpu_hours']:,.0f}",
            "" if row["utilisation"] is None else f"{row['utilisation']:.1%}",
        )
        for row in (*published, *ours)
    ]
    columns = (
        *("run", "parameters", "trainable", "tokens", "tokens a parameter", "a trainable one", "compute-optimal"),
        *("FLOPs", "GPU hours", "utilisation"),
    )
    _table("Published runs", columns, rows)


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*row)
    stdout.print(table)
    stdout.print()


def _short(number: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return f"{number:.0f}"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.2f}" if number else ""


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2f}"


def _dollars(dollars: float) -> str:
    return f"{dollars:,.0f}" if dollars >= 10 else f"{dollars:.2f}"


def _fits(row: dict[str, Any]) -> str:
    if row["fits"] is None:
        return "does not"
    return f"{row['fits']['stage']}{_OFFLOADED[row['fits']['offload']]}"
