"""The command `logfm corpus rules`."""

from pathlib import Path
from typing import Annotated, Any

import typer


def rules_command(
    inputs: Annotated[
        list[str], typer.Argument(help="A corpus, files, folders, globs or - for stdin.", metavar="INPUT...")
    ],
    rules: Annotated[Path, typer.Option("--rules", help="Folder or zip of Sigma rules.", metavar="DIR_OR_ZIP")],
    out: Annotated[
        Path, typer.Option("--out", help="*.parquet for the hits alone, else a folder.", metavar="FILE_OR_FOLDER")
    ],
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with limits.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run Sigma rules over events: which rule fired on which event, its level and its techniques."""
    from logfm.configs.base import parse, read_yaml
    from logfm.configs.schema.rules import RulesConfig
    from logfm.console import emit_json, say
    from logfm.corpus.rules import run_rules

    settings = parse(RulesConfig, read_yaml(config) if config else {}, config or "options")
    found = run_rules(inputs, rules, out, settings)
    if as_json:
        emit_json({"out": str(out), **found})
        return
    _show(found)
    say(f"rules: {out} ({found['hits']} hits of {found['rules_fired']} rules on {found['events']} events)")


def _show(found: dict[str, Any]) -> None:
    from rich.table import Table

    from logfm.console import markup_safe, stdout

    covered = f"{found['events']} ({found['events_covered']} of log sources that a rule is for)"
    tables = [
        ("Rules", ("", ""), [("loaded", found["rules"]), *found["unsupported"].items(), ("events", covered)]),
        ("Hits by level", ("level", "hits"), list(found["hits_by_level"].items())),
        (
            "Rules that fired most",
            ("events", "level", "rule"),
            [(one["events"], one["level"], one["title"]) for one in found["top_rules"]],
        ),
    ]
    for title, columns, rows in tables:
        table = Table(*columns, title=title, title_justify="left", box=None, show_header=any(columns))
        for row in rows:
            table.add_row(*(markup_safe(str(cell)) for cell in row))
        stdout.print(table)
