"""Commands of the corpus room."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Turn raw logs into a corpus, and see what was recognised.", no_args_is_help=True)

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
    licence: Annotated[
        list[str] | None, typer.Option("--licence", help="Licence of the data; repeatable. It is recorded.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", help="Zone of times that carry none. [default: UTC]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that read. [default: one a core]")
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Read logs of any recognised format into a corpus folder."""
    from logfm.console import emit_json, say
    from logfm.corpus import build

    document: dict[str, Any] = {}
    if dedup is not None:
        document["dedup"] = [] if dedup == "none" else [name.strip() for name in dedup.split(",")]
    if licence:
        document["licences"] = licence
    if timezone is not None:
        document["timezone"] = timezone
    metrics = build(inputs, out, _config(config, document), workers=workers).metrics
    if as_json:
        emit_json({"out": str(out), **metrics})
        return
    _show_sources(metrics)
    _show_rejects(metrics)
    kept = [(metrics["events"], "events"), (metrics.get("unique"), "unique"), (metrics.get("distinct"), "distinct")]
    say(f"corpus: {out} ({', '.join(f'{count} {name}' for count, name in kept if count is not None)})")


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
    rows = [
        (count if not number else "", reason if not number else "", f"{example['file']}:{example['offset']}",
         example["excerpt"][:80])
        for reason, count in facts["rejects"].items()
        for number, example in enumerate(facts["examples"].get(reason, ()))
    ]  # fmt: skip
    if rows:
        _table("Rejects", ("count", "reason", "where", "beginning"), rows)


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
