"""Commands of the encoder at work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from logfm.artifacts import Manifest
    from logfm.embeddings import LogEncoder

index_app = typer.Typer(help="Build an index over events, add to it, delete from it.", no_args_is_help=True)

_LOW_RECALL = 0.9

_Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help="Files, folders, globs, a corpus, vectors of `embed`, or -.")
]
_EncoderUri = Annotated[
    str,
    typer.Option("--encoder", help="nano, a folder, st:NAME, hf:NAME, tfidf, py:MODULE:OBJECT, http://HOST/...#MODEL."),
]
_IndexEncoder = Annotated[
    str | None, typer.Option("--encoder", help="The index's encoder under another name, if it has moved.")
]
_Truncation = Annotated[str, typer.Option("--truncation", help="Of long texts: error, head, head_tail or chunk.")]
_Backend = Annotated[str, typer.Option("--backend", help="Of an encoder folder: auto, torch, onnx or onnx-int8.")]
_Layers = Annotated[
    str, typer.Option("--layers", help="Whose states count: last, a layer's number, or last:N for the mean of N.")
]
_Pooling = Annotated[str, typer.Option("--pooling", help="Of the tokens' states: mean, first or max.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def embed_command(
    inputs: _Inputs,
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    encoder: _EncoderUri = "nano",
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: workers of a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Of Ray; by default all.")] = None,
    as_json: _Json = False,
) -> None:
    """Encode events and write their vectors, with the keys that lead back to file and byte.

    A run that was stopped goes on where it was: give the same command again.
    """
    from logfm.console import emit_json, say
    from logfm.embeddings.embed import embed, known_engine

    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    rows = embed(inputs, loaded, out, engine=known_engine(engine), workers=workers)
    _tell_cuts(loaded)
    say(f"vectors: {out} ({rows} events, {loaded.dim} dimensions)")
    if as_json:
        cut = loaded.counts.cut if loaded.tells_cuts else None
        emit_json({"out": str(out), "events": rows, "dim": loaded.dim, "cut": cut})


@index_app.command("build")
def index_build(
    inputs: _Inputs,
    index: Annotated[Path, typer.Option("--index", help="Folder to write.")],
    encoder: _EncoderUri = "nano",
    kind: Annotated[str, typer.Option("--kind", help="auto, flat, hnsw or ivfpq.")] = "auto",
    words: Annotated[bool, typer.Option("--bm25/--no-bm25", help="Keep words for --mode bm25 and hybrid.")] = True,
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
    as_json: _Json = False,
) -> None:
    """Build a search index over any input."""
    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import IndexConfig
    from logfm.embeddings.index import build

    config = parse(IndexConfig, {"kind": kind, "bm25": words}, "--kind")
    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    _tell_index(index, build(inputs, loaded, index, config), as_json)


@index_app.command("add")
def index_add(
    inputs: _Inputs,
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")],
    encoder: _IndexEncoder = None,
    as_json: _Json = False,
) -> None:
    """Add events to an index; those it holds already are left out."""
    from logfm.embeddings.index import add

    _tell_index(index, add(index, inputs, encoder), as_json)


@index_app.command("delete")
def index_delete(
    index: Annotated[Path, typer.Option("--index", help="Folder of the index.")],
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as host = 'web1'.")] = None,
    ids: Annotated[list[str] | None, typer.Option("--ids", help="An event_id. Repeatable.")] = None,
    as_json: _Json = False,
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
    as_json: _Json = False,
) -> None:
    """Find the events that answer a text best."""
    from dataclasses import asdict

    from logfm.console import emit_json, markup_safe, stdout
    from logfm.embeddings.filters import parse_time
    from logfm.embeddings.search import Index, known_mode

    times = {
        "since": None if since is None else parse_time(since, "--since"),
        "until": None if until is None else parse_time(until, "--until"),
    }
    if not (index / "manifest.json").exists() and (index / "index" / "manifest.json").exists():
        index = index / "index"  # the folder of a quickstart
    chosen = None if mode is None else known_mode(mode)
    opened = Index.open(index, encoder)
    chosen = chosen or ("hybrid" if opened.has_words else "vector")
    hits = opened.search(query, k, where, mode=chosen, **times)
    if opened.encoder.tells_cuts:
        _tell_cuts(opened.encoder)
    if as_json:
        emit_json({"query": query, "hits": [asdict(hit) for hit in hits]})
        return
    # A sum of reciprocal ranks says nothing to a person.
    table = _table("rank" if chosen == "hybrid" else "score", "time", "host", "event")
    for rank, hit in enumerate(hits, 1):
        time = "" if hit.timestamp is None else f"{hit.timestamp:%Y-%m-%d %H:%M:%S}"
        place = f"{hit.file}:{hit.offset}"
        score = str(rank) if chosen == "hybrid" else f"{hit.score:.3f}"
        table.add_row(score, time, markup_safe(hit.host or ""), _cell(hit.text, place))
    stdout.print(table)


def detect_command(
    inputs: _Inputs,
    encoder: _EncoderUri = "nano",
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="nearest (what is new; the default with --baseline), conad, lanobert, logbert, or a detector of "
            "PyOD: iforest (the default without), knn, ecod, ...",
        ),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Normal events to compare with, such as last week's. Repeatable."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Different texts to show.")] = 20,
    contamination: Annotated[
        float, typer.Option("--contamination", help="Share of the normal events above the threshold, to 0.5.")
    ] = 0.01,
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
    as_json: _Json = False,
) -> None:
    """Show the most abnormal events, the normal event nearest to each, and its surprising tokens."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import DetectConfig
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.detect import find

    options = {"method": method, "top": top, "contamination": contamination}
    config = parse(DetectConfig, options, "logfm detect")
    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    found = find(inputs, loaded, config, baseline)
    _tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = _table("score", "count", "event", "surprising")
    for finding in found.findings:
        nearest = finding.nearest_normal
        below = f"nearest normal ({nearest.score:.2f}): {nearest.text}" if nearest else "no normal event"
        tokens = " ".join(f"{token.token} {token.nats:.1f}" for token in finding.surprising)
        place = f"{finding.file}:{finding.offset}"
        table.add_row(f"{finding.score:.4f}", str(finding.count), _cell(finding.text, place, below), _cell(tokens))
    stdout.print(table)
    say(f"{found.above_threshold} of {found.events} events lie above the threshold {found.threshold:.3g}")


def patterns_command(
    inputs: _Inputs,
    encoder: _EncoderUri = "nano",
    top: Annotated[int, typer.Option("--top", min=1, help="Different texts each way names.")] = 5,
    text_column: Annotated[
        list[str] | None, typer.Option("--text-column", help="A column of free text. Repeatable. [default: found]")
    ] = None,
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
    as_json: _Json = False,
) -> None:
    """Show the events that fit the patterns worst: by their columns, by their embeddings, and by both."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import PatternsConfig
    from logfm.console import emit_json, markup_safe, say, stdout
    from logfm.embeddings.patterns import patterns

    config = parse(PatternsConfig, {"top": top, "text_columns": text_column or None}, "logfm patterns")
    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    found = patterns(inputs, loaded, config)
    _tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = _table("by", "score", "count", "event", "rare")
    for way in ("labels", "embeddings", "hybrid"):
        for one in getattr(found, way):
            rare = "\n".join(f"{value.column}={value.value} ({value.count})" for value in one.rare)
            place = f"{one.event['file']}:{one.event['offset']}"
            event = _cell(one.event["text"], place)
            table.add_row(way, f"{one.score:.3f}", str(one.count), event, markup_safe(rare[:300]))
    stdout.print(table)
    names = ", ".join(found.structured) or "none"
    say(f"{found.events} events; structured columns: {names}; free text: {', '.join(found.free_text)}")


def subsample_command(
    inputs: _Inputs,
    encoder: _EncoderUri = "nano",
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Events to choose. [default: 10, or what --tokens allows]")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Tokens of a language model that they may fill (estimated).")
    ] = None,
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
    as_json: _Json = False,
) -> None:
    """Choose the few events that differ the most, the most usual one first."""
    from dataclasses import asdict

    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import SubsampleConfig
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.subsample import subsample

    config = parse(SubsampleConfig, {"events": count, "tokens": tokens}, "logfm subsample")
    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    found = subsample(inputs, loaded, config)
    _tell_cuts(loaded)
    if as_json:
        emit_json(asdict(found))
        return
    table = _table("distance", "event")
    for one in found.chosen:
        distance = "" if one.distance is None else f"{one.distance:.3f}"
        table.add_row(distance, _cell(one.text, f"{one.file}:{one.offset}"))
    stdout.print(table)
    spent = "" if tokens is None else f", about {found.tokens} tokens"
    say(f"{len(found.chosen)} of {found.events} events{spent}")


def explain_command(
    line: Annotated[str, typer.Argument(help="One log line.")],
    encoder: _EncoderUri = "nano",
    page: Annotated[Path | None, typer.Option("--html", help="Also write an HTML page here.")] = None,
    as_json: _Json = False,
) -> None:
    """Show how surprising each token of a line is to an encoder."""
    from dataclasses import asdict

    from logfm.artifacts import write_atomic
    from logfm.console import emit_json, say, stdout
    from logfm.embeddings.explain import as_page, as_text, explain
    from logfm.errors import UserError

    if not line.strip():
        raise UserError("the line is empty", fix="Give one log line.")
    found = explain(_load(encoder), line)
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
    table = _table("nats", "token")
    for token in judged[:10]:
        table.add_row(f"{token.nats:.2f}", _cell(token.token))
    stdout.print(table)
    if found.cut:
        say("the line is longer than the encoder reads: only its beginning is judged")


def serve_command(
    encoder: _EncoderUri = "nano",
    index: Annotated[Path | None, typer.Option("--index", help="Folder of an index, for /v1/search.")] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    truncation: _Truncation = "head",
    backend: _Backend = "auto",
    layers: _Layers = "last",
    pooling: _Pooling = "mean",
) -> None:
    """Serve vectors (/v1/embeddings, as OpenAI's interface), search and explanations over HTTP.

    With LOGFM_API_KEY set in the environment, requests must bring it as their bearer token.
    """
    from logfm.extras import require

    for package in ("fastapi", "uvicorn"):
        require(package, "serve")
    from logfm.embeddings.search import Index
    from logfm.embeddings.serving import application, serve

    loaded = _load(encoder, truncation, backend=backend, layers=layers, pooling=pooling)
    opened = None if index is None else Index.open(index, loaded)
    serve(application(loaded, opened), host, port)


def _load(uri: str, truncation: str = "head", **options: str) -> "LogEncoder":
    from logfm.configs.base import parse
    from logfm.configs.schema.embeddings import EncoderConfig
    from logfm.embeddings import LogEncoder

    return LogEncoder.load(
        uri, parse(EncoderConfig, {"truncation": truncation, **options}, "--truncation, --backend, --layers, --pooling")
    )


def _tell_cuts(encoder: "LogEncoder") -> None:
    from logfm.console import say

    if not encoder.tells_cuts:
        say(f"{encoder.name} does not tell which texts it cuts")
    elif encoder.counts.cut:
        say(
            f"{encoder.counts.cut} of {encoder.counts.encoded} different texts were longer than the encoder reads "
            f"({encoder.config.truncation})"
        )


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


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        right = column in ("score", "rank", "count", "nats", "distance")
        wraps = column in ("event", "surprising", "rare")
        table.add_column(column, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    return table


def _cell(text: str, *below: str, most: int = 500) -> str:
    """Log content for a table: harmless, on few lines; `below` is dimmed."""
    from logfm.console import markup_safe

    def shown(part: str) -> str:
        flat = " ".join(part.split())
        return markup_safe(flat if len(flat) <= most else f"{flat[:most]}…")

    return "\n".join([shown(text), *(f"[dim]{shown(part)}[/dim]" for part in below)])
