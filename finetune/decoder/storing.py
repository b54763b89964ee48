"""Cases in a file, so that data is read and rules are run once for many trainings."""

import gzip
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from logfm.artifacts import write_atomic
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.cases import CaseSet

_FORMAT = 1


def write_cases(cases: CaseSet, path: Path) -> None:
    """Write them as JSON lines, compressed: what holds for all, then a case a line."""
    head = asdict(cases) | {"cases": len(cases.cases), "format": _FORMAT}
    lines = [orjson.dumps(head), *(orjson.dumps(asdict(case)) for case in cases.cases)]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the time of writing the same cases are the same bytes.
    write_atomic(path, gzip.compress(b"\n".join(lines), compresslevel=5, mtime=0))


def read_cases(path: Path) -> CaseSet:
    """The cases of a file.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        head, *rows = [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        if head.pop("format") != _FORMAT or head.pop("cases") != len(rows):
            raise ValueError("cut, or of another format")
        grammar = Grammar(tuple(_slot(one) for one in head.pop("grammar")["slots"]))
        return CaseSet(grammar=grammar, cases=tuple(map(_case, rows)), **head)
    except FileNotFoundError:
        raise UserError("no such file", path) from None
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError) as error:
        raise UserError(f"not a file of cases ({type(error).__name__})", path) from error


def _slot(row: dict[str, Any]) -> Slot:
    return Slot(**row | {"labels": tuple(row["labels"])})


def _case(row: dict[str, Any]) -> Case:
    answer = {name: tuple(labels) for name, labels in row["answer"].items()}
    return Case(**row | {"answer": answer, "event_ids": tuple(row["event_ids"])})
