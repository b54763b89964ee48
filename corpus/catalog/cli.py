"""The command `logfm corpus catalog`."""

from typing import Annotated, Any

import typer


def catalog_command(
    name: Annotated[str | None, typer.Argument(help="One data set; all of them without it.", metavar="[NAME]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Public data sets: format, size, labels, licence, where they are published, and how a copy is read."""
    from logfm.console import emit_json
    from logfm.corpus.catalog.catalogue import dataset, datasets

    if name is not None:
        one = dataset(name)
        if as_json:
            emit_json(_document(one))
        else:
            _show_one(one)
        return
    found = list(datasets().values())
    if as_json:
        emit_json([_document(one) for one in found])
    else:
        _show_all(found)


def _document(one: Any) -> dict[str, Any]:
    return {**one.dump(), "licence_text": one.licence_text}


def _show_all(found: list[Any]) -> None:
    from rich.table import Table

    from logfm.console import markup_safe, stdout

    names = ("name", "format", "size", "labels", "level", "licence", "published")
    table = Table(*names, title="Public data sets", title_justify="left", box=None)
    for one in found:
        cells = (one.name, one.format, size(one.size_bytes), one.labels, one.label_level, one.licence_text, one.url)
        table.add_row(*map(markup_safe, cells))
    stdout.print(table)


def _show_one(one: Any) -> None:
    from logfm.console import markup_safe, stdout

    flag = {True: "yes", False: "no", None: "not known"}[one.non_commercial]
    checksums = [f"{file} {value}" for file, value in (one.checksum or {}).items()]
    rows = (
        ("format", one.format), ("size", f"{size(one.size_bytes)}, unpacked {size(one.unpacked_bytes)}"),
        ("events", "not known" if one.events is None else f"{one.events:,}"),
        ("labels", f"{one.labels} (level: {one.label_level}{', with techniques' if one.techniques else ''})"),
        ("licence", one.licence_text), ("non-commercial", flag), ("published", one.url), ("cite", one.citation),
        ("checksum", "; ".join(checksums) or "not known"), ("layout", one.layout), ("notes", one.notes or "-"),
        ("read with", f"logfm.corpus.catalog.read_dataset({one.name!r}, FOLDER)"),
    )  # fmt: skip
    stdout.print(f"[bold]{markup_safe(one.title)}[/bold]")
    for name, value in rows:
        stdout.print(f"  {name + ':':<16}{markup_safe(' '.join(str(value).split()))}")


def size(count: int | None) -> str:
    """Bytes for people, in powers of ten as publishers give them."""
    if count is None:
        return "not known"
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.3g} {units[0]}"
