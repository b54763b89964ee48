"""Commands of the encoder at work."""

from pathlib import Path
from typing import Annotated

import typer

from logfm.embeddings.cli_index import index_app, search_command
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

__all__ = ["detect_command", "embed_command", "explain_command", "index_app", "patterns_command", "search_command",
           "serve_command", "subsample_command"]  # fmt: skip


def embed_command(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    encoder: EncoderUri = "nano",
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: workers of a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Of Ray; by default all.")] = None,
    as_json: Json = False,
) -> None:
    """Encode events and write their vectors, with the keys that lead back to file and byte.

    A run that was stopped goes on where it was: give the same command again.
    """
    from logfm.console import emit_json, say
    from logfm.embeddings.embed import embed, known_engine

    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    rows = embed(inputs, loaded, out, engine=known_engine(engine), workers=workers)
    tell_cuts(loaded)
    say(f"vectors: {out} ({rows} events, {loaded.dim} dimensions)")
    if as_json:
        cut = loaded.counts.cut if loaded.tells_cuts else None
        emit_json({"out": str(out), "events": rows, "dim": loaded.dim, "cut": cut})


_Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="nearest (what is new; the default with --baseline), conad, lanobert, logbert, or a detector of "
        "PyOD: iforest (the default without), knn, ecod, ...",
    ),
]


def detect_command(
    inputs: Inputs,
    encoder: EncoderUri = "nano",
    method: _Method = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Normal events to compare with, such as last week's. Repeatable."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Different texts to show.")] = 20,
    contamination: Annotated[
        float, typer.Option("--contamination", help="Share of the normal events above the threshold, to 0.5.")
    ] = 0.01,
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show the most abnormal events, the normal event nearest to each, and its surprising tokens."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import DetectConfig
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.detect import find

    config = parse(DetectConfig, {"method": method, "top": top, "contamination": contamination}, "logfm detect")
    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    found = find(inputs, loaded, config, baseline)
    tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = new_table("score", "count", "event", "surprising")
    for finding in found.findings:
        nearest = finding.nearest_normal
        below = f"nearest normal ({nearest.score:.2f}): {nearest.text}" if nearest else "no normal event"
        tokens = " ".join(f"{token.token} {token.nats:.1f}" for token in finding.surprising)
        event = cell(finding.text, f"{finding.file}:{finding.offset}", below)
        table.add_row(f"{finding.score:.4f}", str(finding.count), event, cell(tokens))
    stdout.print(table)
    say(f"{found.above_threshold} of {found.events} events lie above the threshold {found.threshold:.3g}")


def patterns_command(
    inputs: Inputs,
    encoder: EncoderUri = "nano",
    top: Annotated[int, typer.Option("--top", min=1, help="Different texts each way names.")] = 5,
    text_column: Annotated[
        list[str] | None, typer.Option("--text-column", help="A column of free text. Repeatable. [default: found]")
    ] = None,
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show the events that fit the patterns worst: by their columns, by their embeddings, and by both."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import PatternsConfig
    from logfm.console import emit_json, markup_safe, say, stdout
    from logfm.embeddings.patterns import patterns

    config = parse(PatternsConfig, {"top": top, "text_columns": text_column or None}, "logfm patterns")
    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    found = patterns(inputs, loaded, config)
    tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = new_table("by", "score", "count", "event", "rare")
    for way in ("labels", "embeddings", "hybrid"):
        for one in getattr(found, way):
            rare = "\n".join(f"{value.column}={value.value} ({value.count})" for value in one.rare)
            place = f"{one.event['file']}:{one.event['offset']}"
            event = cell(one.event["text"], place)
            table.add_row(way, f"{one.score:.3f}", str(one.count), event, markup_safe(rare[:300]))
    stdout.print(table)
    names = ", ".join(found.structured) or "none"
    say(f"{found.events} events; structured columns: {names}; free text: {', '.join(found.free_text)}")


def subsample_command(
    inputs: Inputs,
    encoder: EncoderUri = "nano",
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Events to choose. [default: 10, or what --tokens allows]")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Tokens of a language model that they may fill (estimated).")
    ] = None,
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Choose the few events that differ the most, the most usual one first."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import SubsampleConfig
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.subsample import subsample

    config = parse(SubsampleConfig, {"events": count, "tokens": tokens}, "logfm subsample")
    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    found = subsample(inputs, loaded, config)
    tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = new_table("distance", "event")
    for one in found.chosen:
        distance = "" if one.distance is None else f"{one.distance:.3f}"
        table.add_row(distance, cell(one.text, f"{one.file}:{one.offset}"))
    stdout.print(table)
    spent = "" if tokens is None else f", about {found.tokens} tokens"
    say(f"{len(found.chosen)} of {found.events} events{spent}")


def explain_command(
    line: Annotated[str, typer.Argument(help="One log line.")],
    encoder: EncoderUri = "nano",
    page: Annotated[Path | None, typer.Option("--html", help="Also write an HTML page here.")] = None,
    as_json: Json = False,
) -> None:
    """Show how surprising each token of a line is to an encoder."""
    from dataclasses import asdict

    from logfm.artifacts import write_atomic
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.explain import as_page, as_text, explain
    from logfm.errors import UserError

    if not line.strip():
        raise UserError("the line is empty", fix="Give one log line.")
    found = explain(load(encoder), line)
    if page is not None:
        write_atomic(page, as_page(found).encode())
        say(f"page: {page}")
    if as_json:
        emit_json(asdict(found))
        return
    stdout.print(as_text(found))
    judged = sorted((token for token in found.tokens if token.nats is not None), key=lambda token: -(token.nats or 0))
    if not judged:
        say("the line holds delimiters only: there is nothing to judge")
        return
    table = new_table("nats", "token")
    for token in judged[:10]:
        table.add_row(f"{token.nats:.2f}", cell(token.token))
    stdout.print(table)
    if found.cut:
        say("the line is longer than the encoder reads: only its beginning is judged")


def serve_command(
    encoder: EncoderUri = "nano",
    index: Annotated[Path | None, typer.Option("--index", help="Folder of an index, for /v1/search.")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    reads: Reads = "line",
    truncation: Truncation = "head",
    backend: Backend = "auto",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    bf16: Bf16 = False,
    device: Device = "auto",
) -> None:
    """Serve vectors (/v1/embeddings, as OpenAI's interface), search and explanations over HTTP.

    With LOGFM_API_KEY set in the environment, requests must bring it as their bearer token.
    """
    from logfm.extras import require

    for package in ("fastapi", "uvicorn"):
        require(package, "serve")
    from logfm.embeddings.search import Index
    from logfm.embeddings.serving import application, serve

    loaded = load(encoder, reads, truncation, backend, layers, pooling, device, bf16=bf16)
    opened = None if index is None else Index.open(index, loaded)
    serve(application(loaded, opened), host, port)
