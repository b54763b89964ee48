"""Commands of indexes: build, add, delete, search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logfm.embeddings.cli_options import (
    Backend,
    Bf16,
    Device,
    EncoderUri,
    Inputs,
    Json,
    Layers,
    Pooling,
    Reads,
    Truncation,
    cell,
    load,
    new_table,
    tell_cuts,
)

if TYPE_CHECKING:
    from logfm.artifacts import Manifest

index_app = typer.Typer(help="Build an index over events, add to it, delete from it.", no_args_is_help=True)

_LOW_RECALL = 0.9

_IndexEncoder = Annotated[
    str | None, typer.Option("--encoder", help="The index's encoder under another name, if it has moved.")
]


@index_app.command("build")
def index_build(
    inputs: Inputs,
    index: Annotated[Path, typer.Option("--index", help="Folder to write.")],
    encoder: EncoderUri = "nano",
    kind: Annotated[str, typer.Option("--kind", help="auto, flat, hnsw or ivfpq.")] = "auto",
    words: Annotated[bool, typer.Option("--bm25/--no-bm25", help="Keep words for --mode bm25 and hybrid.")] = True,
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Build a search index over any input."""
    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import IndexConfig
    from logfm.embeddings.index import build

    config = parse(IndexConfig, {"kind": kind, "bm25": words}, "--kind")
    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    _tell_index(index, build(inputs, loaded, index, config), as_json)


@index_app.command("add")
def index_add(
    inputs: Inputs,
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")],
    encoder: _IndexEncoder = None,
    as_json: Json = False,
) -> None:
    """Add events to an index; those it holds already are left out."""
    from logfm.embeddings.index import add

    _tell_index(index, add(index, inputs, encoder), as_json)


@index_app.command("delete")
def index_delete(
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")],
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as host = 'web1'.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--ids", help="An event_id. Repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Delete events from an index: no search finds them again."""
    from logfm.console import emit_json, say
    from logfm.embeddings.index import delete
    from logfm.embeddings.search import read_index

    before = read_index(index).metrics["events"]
    metrics = delete(index, where, ids or ()).metrics
    say(f"index: {index} ({before - metrics['events']} events deleted, {metrics['events']} left)")
    if as_json:
        emit_json({"index": str(index), "deleted": before - metrics["events"], **metrics})


@index_app.command("compact")
def index_compact(
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")],
    as_json: Json = False,
) -> None:
    """Make one segment of all, without what was deleted; the old files go when it is given again."""
    from logfm.embeddings.index import compact

    _tell_index(index, compact(index), as_json)


def search_command(
    index: Annotated[Path, typer.Argument(help="Folder of the index.")],
    query: Annotated[str, typer.Argument(help="A log line, or words.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Events to show.")] = 10,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="By meaning (vector), words (bm25) or both (hybrid, unless there are no words)."),
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as host = 'web1'.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Earliest time, such as 2026-01-05T10:00 (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Latest time, not included.")] = None,
    encoder: _IndexEncoder = None,
    as_json: Json = False,
) -> None:
    """Find the events that answer a text best."""
    from dataclasses import asdict

    from logfm.console import emit_json, markup_safe, stdout
    from logfm.embeddings.filters import Filter, parse_time
    from logfm.embeddings.search import Index, known_mode

    times = {
        "since": None if since is None else parse_time(since, "--since"),
        "until": None if until is None else parse_time(until, "--until"),
    }
    Filter(where, **times)  # times that let nothing through are refused before the index is read
    if not (index / "manifest.json").exists() and (index / "index" / "manifest.json").exists():
        index = index / "index"  # the folder of a quickstart
    chosen = None if mode is None else known_mode(mode)
    opened = Index.open(index, encoder)
    chosen = chosen or opened.usual_mode
    hits = opened.search(query, k, where, mode=chosen, **times)
    if opened.encoder.tells_cuts:
        tell_cuts(opened.encoder)
    if as_json:
        emit_json({"query": query, "hits": [asdict(hit) for hit in hits]})
        return
    # A sum of reciprocal ranks says nothing to a person.
    table = new_table("rank" if chosen == "hybrid" else "score", "time", "host", "event")
    for rank, hit in enumerate(hits, 1):
        time = "" if hit.timestamp is None else f"{hit.timestamp:%Y-%m-%d %H:%M:%S}"
        place = f"{hit.file}:{hit.offset}"
        score = str(rank) if chosen == "hybrid" else f"{hit.score:.3f}"
        table.add_row(score, time, markup_safe(hit.host or ""), cell(hit.text, place))
    stdout.print(table)


def _tell_index(folder: Path, manifest: "Manifest", as_json: bool) -> None:
    from logfm.console import emit_json, say

    metrics = manifest.metrics
    last = metrics["segments"][-1]
    recall = "" if last["recall_at_10"] is None else f", recall@10 {last['recall_at_10']:.3f}"
    repeated = f"; {metrics['skipped']} repeated ones left out" if metrics["skipped"] else ""
    say(f"index: {folder} ({metrics['events']} events, {last['kind']}{recall}{repeated})")
    if last["recall_at_10"] is not None and last["recall_at_10"] < _LOW_RECALL:
        say("some of the nearest events are not found: --kind flat finds all, and takes longer")
    if metrics["cut"]:
        policy = manifest.config["reading"]["truncation"]
        say(f"{metrics['cut']} different texts of the index were longer than the encoder reads ({policy})")
    if as_json:
        emit_json({"index": str(folder), **metrics})
