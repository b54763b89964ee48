"""Files that are labelled as a whole, and Sigma rules that tell which of their events are the suspicious ones."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice

from logfm.configs.schema.cases import CapturesSource
from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import discover
from logfm.corpus.events import Event
from logfm.corpus.read import read_input
from logfm.errors import UserError
from logfm.finetune.decoder.groups import Counts, Group, Labelled, first_of, words_in
from logfm.finetune.decoder.weak import sigma_hits

Row = dict[str, str]


def read_captures(source: CapturesSource, counts: Counts) -> Iterator[Group]:
    """The groups of a table of labelled files, one file of the input held at a time.

    A group whose files lie apart comes in several parts of the same name.

    Raises:
        UserError: no input or table, a column that isn't there, or no file that a row names.
    """
    rows = _table(source)
    hits = None if source.sigma is None else sigma_hits(source.input, source.sigma)
    found = False
    for group, events in _groups(source, rows, counts):
        labelled = [_labelled(event, row, source, hits) for event, row in events]
        found = True
        yield Group(group, source.name, labelled, "capture" if hits is None else "sigma", None)
    if not found:
        raise UserError("no event of a file that the table names", source.labels, "See `file` of the source.")


def _table(source: CapturesSource) -> dict[str, Row]:
    """The rows of the table, by their file's path."""
    try:
        with source.labels.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, restval=""))
    except FileNotFoundError:
        raise UserError("no such file", source.labels) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"not a CSV ({type(error).__name__})", source.labels) from None
    needed = [*source.file, *source.techniques, *source.reason, *source.group]
    needed += [one for one in (source.tactics, source.severity) if one]
    known = rows[0].keys() if rows else ()
    for name in needed:
        if name not in known:
            raise UserError(f"the table has no column {name}", source.labels, f"It has {', '.join(known)}.")
    return {"/".join(row[name] for name in source.file): row for row in rows}


def _groups(
    source: CapturesSource, rows: dict[str, Row], counts: Counts
) -> Iterator[tuple[str, list[tuple[Event, Row]]]]:
    """Each group of a file of the input, and its events with their rows of the table."""
    config = CorpusConfig()
    for one in discover(source.input)[0]:
        groups: dict[str, list[tuple[Event, Row]]] = {}
        for part in read_input(one, config):
            place = _place(part.file, rows)
            if place is None or (source.extension and not part.file.lower().endswith(source.extension)):
                counts["files without a label"] += 1
                continue
            row = rows[place]
            held = groups.setdefault("/".join(filter(None, map(row.get, source.group))) or place, [])
            events = (record for record in part.records if isinstance(record, Event))
            held += ((event, row) for event in islice(events, max(0, source.events - len(held))))
            counts["events behind the first of a long file"] += sum(1 for _ in events)
        yield from ((name, events) for name, events in sorted(groups.items()) if events)


def _place(file: str, rows: dict[str, Row]) -> str | None:
    """The row of a file (`PATH!MEMBER`): its path, or an end or the middle of it."""
    parts = file.replace("!", "/").strip("/").split("/")
    spans = ((start, end) for end in range(len(parts), 0, -1) for start in range(end))
    return next((place for start, end in spans if (place := "/".join(parts[start:end])) in rows), None)


def _labelled(event: Event, row: Row, source: CapturesSource, hits: dict[str, tuple[str, ...]] | None) -> Labelled:
    fired = None if hits is None else hits.get(event.event_id)
    from_rules = source.sigma is not None and source.sigma.techniques
    return Labelled(
        event,
        hits is None or fired is not None,
        (fired or ()) if from_rules else _ids(row, source.techniques),
        first_of(row, source.reason),
        _tactics(row[source.tactics]) if source.tactics else (),
        row[source.severity] if source.severity else "",
    )


def _tactics(cell: str) -> tuple[str, ...]:
    """`Credential Access, execution` as short names."""
    parts = (part.strip().lower().replace(" ", "-") for part in cell.replace(";", ",").split(","))
    return tuple(filter(None, parts))


def _ids(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    return words_in(first_of(row, columns))
