"""What people see: messages and progress on stderr, so that stdout stays free for results."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
# In a pipe nothing is folded: a path that is broken in two can't be copied.
stdout = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 4096)


def say(message: str) -> None:
    """Write one line for people, on stderr. Rich markup in `message` is not interpreted."""
    stderr.print(printable(message), markup=False)


def printable(text: str) -> str:
    """Replace control characters: a log line must not steer the terminal of the person who reads it."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def markup_safe(text: str) -> str:
    """Make log content safe inside rich markup."""
    return escape(printable(text))


def emit_json(document: Any) -> None:
    """Write one JSON document to stdout (numpy arrays and scalars included)."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")


@contextmanager
def progress(title: str, total: float | None = None) -> Iterator[Any]:
    """Show a progress bar on stderr; yields `advance(n)`. Nothing is drawn where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bars:
        task = bars.add_task(title, total=total)
        yield lambda n=1: bars.advance(task, n)
