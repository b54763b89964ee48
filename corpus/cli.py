"""Commands of the corpus room."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from logfm.corpus.catalog.cli import catalog_command
from logfm.corpus.rules.cli import rules_command

app = typer.Typer(help="Turn raw logs into a corpus, and see what was recognised.", no_args_is_help=True)


class Engine(StrEnum):
    """What runs the tasks of a build."""

    local = "local"
    ray = "ray"


Inputs = Annotated[
    list[str], typer.Argument(help="Files, folders, globs or - for stdin, compressed or not.", metavar="INPUT...")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file with limits and further settings.")]


@app.command("build")
def build_command(
    inputs: Inputs,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    dedup: Annotated[
        str | None, typer.Option("--dedup", help="Views to make: exact, or exact,near, or none. [default: exact]")
    ] = None,
    sessions: Annotated[
        str | None, typer.Option("--sessions", help="Make sessions, cut at pauses of this length: 5m, 90s, 1h.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="The input is a copy of this public data set: `corpus catalog`.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Parquet or CSV: event_id, or file and offset; label, techniques.")
    ] = None,
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Licence of the data; repeatable. It is recorded.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Zone of times that carry none. [default: UTC]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that read. [default: one a core]")
    ] = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="Replace names, addresses and secrets by keyed pseudonyms.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option("--key", help="Key file for --anonymize: `logfm corpus key FILE`.")
    ] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="Where the work is done.")] = Engine.local,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Read logs of any recognised format into a corpus folder."""
    from logfm.console import emit_json, say
    from logfm.corpus import build
    from logfm.errors import UserError

    if anonymize != (key is not None):
        raise UserError("--anonymize and --key go together", fix="Make a key once: logfm corpus key FILE")
    document: dict[str, Any] = {}
    if dedup is not None:
        document["dedup"] = [] if dedup == "none" else [name.strip() for name in dedup.split(",")]
    if dataset is not None:
        document["dataset"] = dataset
    if sessions is not None:
        document["sessions"] = _seconds(sessions)
    if licence:
        document["licences"] = licence
    if timezone is not None:
        document["timezone"] = timezone
    metrics = build(
        inputs,
        out,
        _config(config, document),
        workers=workers,
        labels=labels,
        engine=engine.value,
        key=_key(key) if key else None,
    ).metrics
    if as_json:
        emit_json({"out": str(out), **metrics})
        return
    _show_sources(metrics)
    _show_rejects(metrics)
    kept = [(metrics["events"], "events"), (metrics.get("unique"), "unique"), (metrics.get("distinct"), "distinct"),
            (metrics.get("labelled"), "labelled"), (metrics.get("sessions"), "sessions")]  # fmt: skip
    say(f"corpus: {out} ({', '.join(f'{count} {name}' for count, name in kept if count is not None)})")
    if dataset is not None and not metrics.get("labelled"):
        say(f"no event has a label of {dataset}; where it has some, give its root: logfm corpus catalog {dataset}")


@app.command("inspect")
def inspect_command(
    paths: Annotated[list[str], typer.Argument(help="Raw logs, or a corpus folder.", metavar="PATH...")],
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Say what was recognised and why, what was counted, and what was rejected."""
    from logfm.console import emit_json
    from logfm.corpus.survey import survey

    facts = survey(paths, _config(config, {}))
    if as_json:
        emit_json(facts)
        return
    _show_files(facts)
    _show_sources(facts)
    _show_rejects(facts)


app.command("rules")(rules_command)
app.command("catalog")(catalog_command)


@app.command("key")
def key_command(path: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")]) -> None:
    """Make a key for --anonymize; whoever has it can link pseudonyms to names."""
    from logfm.console import say
    from logfm.corpus.anonymize import key_id, write_key

    say(f"key: {path} ({key_id(write_key(path))})")


def _key(path: Path) -> bytes:
    from logfm.corpus.anonymize import read_key
    from logfm.extras import require

    require("ahocorasick_rs", "anonymize")
    return read_key(path)


@app.command("sets")
def sets_command(
    folder: Annotated[Path, typer.Argument(help="A corpus with sessions.", metavar="DIR")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    foundation: Annotated[bool, typer.Option("--foundation", help="Every session, natural prevalence.")] = False,
    defense: Annotated[bool, typer.Option("--defense", help="Labelled sessions, at --prevalence.")] = False,
    prevalence: Annotated[
        float | None, typer.Option("--prevalence", help="Share of attack sessions. [default: 0.35]")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="What the splits must not share: time, host or scenario.")
    ] = "time",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    as_json: Json = False,
) -> None:
    """Split sessions into train, validation and test without leaks."""
    from logfm.configs.base import parse
    from logfm.configs.schema.corpus import SetsConfig
    from logfm.console import emit_json, say
    from logfm.corpus.sessions.sets import make_sets
    from logfm.errors import UserError

    if foundation == defense:
        raise UserError("which set?", fix="Give either --foundation or --defense.")
    if foundation and prevalence is not None:
        raise UserError("a foundation set keeps its natural prevalence", fix="Use --defense with --prevalence.")
    document: dict[str, Any] = {"kind": "defense" if defense else "foundation", "split": split, "seed": seed}
    if prevalence is not None:
        document["prevalence"] = prevalence
    metrics = make_sets(folder, out, parse(SetsConfig, document, "options")).metrics
    if as_json:
        emit_json({"out": str(out), **metrics})
        return
    names = ("sessions", "attack_sessions", "attack_session_share", "events", "attack_events", "first", "last", "hosts")
    rows = [(split, *(facts[name] for name in names)) for split, facts in metrics["splits"].items()]
    _table("Sets", ("split", *(name.replace("_", " ") for name in names)), rows)
    say(f"sets: {out} ({metrics['left_out']} sessions fit in no split, {metrics['not_drawn']} were not drawn)")


def _seconds(text: str) -> float:
    """A length of time such as 90s, 5m or 1h, in seconds."""
    from logfm.errors import UserError

    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        return float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise UserError(f"not a length of time: {text!r}", "--sessions", "Write 90s, 5m or 1h.") from None


def _config(path: Path | None, document: dict[str, Any]) -> Any:
    from logfm.configs.base import parse, read_yaml
    from logfm.configs.schema.corpus import CorpusConfig

    return parse(CorpusConfig, (read_yaml(path) if path else {}) | document, path or "options")


def _show_files(facts: dict[str, Any]) -> None:
    from logfm.console import markup_safe, stdout

    for file in facts["files"]:
        shares = [f"{name} {count / file['events']:.0%}" for name, count in file["columns"].items()]
        rejects = sum(file["rejects"].values())
        lines = [
            f"[bold]{markup_safe(file['name'])}[/bold]  {file['format'] or 'not read'}: {markup_safe(file['why'])}",
            f"  {file['events']} events, {file['timestamped']:.0%} with time, {_minute(file['first'])} to "
            f"{_minute(file['last'])}, {rejects} rejects",
        ]
        if file["events"]:
            lines.append(f"  columns: {', '.join(shares) or 'none'}; fields: {markup_safe(_short(file['fields']))}")
        stdout.print("\n".join(lines))


def _show_sources(facts: dict[str, Any]) -> None:
    columns = ("source", "events", "bytes", "duplicates", "near", "with time", "first", "last")
    rows = [
        (name, one["events"], one["bytes"], one.get("duplicates", "-"), one.get("near_duplicates", "-"),
         f"{one['timestamped']:.0%}",
         _minute(one["first"]), _minute(one["last"]))
        for name, one in facts["sources"].items()
    ]  # fmt: skip
    _table("Sources", columns, rows)


def _show_rejects(facts: dict[str, Any]) -> None:
    for title, name in (("Rejects", "rejects"), ("Odd, and kept", "doubts")):
        rows = [
            (count if not number else "", reason if not number else "", f"{example['file']}:{example['offset']}",
             example["excerpt"][:80])
            for reason, count in facts[name].items()
            for number, example in enumerate(facts["examples"].get(reason, ()))
        ]  # fmt: skip
        if rows:
            _table(title, ("count", "reason", "where", "beginning"), rows)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.table import Table

    from logfm.console import markup_safe, stdout

    table = Table(*columns, title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*(markup_safe(str(cell)) for cell in row))
    stdout.print(table)


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else "-"


def _short(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"
