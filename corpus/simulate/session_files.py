"""Write a session's records to its folder, and say where each event lies."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from logfm.corpus.events import event_id
from logfm.corpus.simulate.collected import collected
from logfm.corpus.simulate.network import bucket_ends
from logfm.corpus.simulate.planning import SECOND, Session
from logfm.corpus.simulate.records import DNS, Record, Truth, dns_header, moment
from logfm.corpus.simulate.sources_of import NUMBER
from logfm.corpus.simulate.world import stream

Row = tuple[str, str, int, Truth]
Changed = Mapping[str, Sequence[tuple[re.Pattern[str], str]]]
_BUCKETS = "browser/"


def write_session(records: Sequence[Record], session: Session, seed: int, logs: Path, changed: Changed) -> list[Row]:
    """Write the files of a session, below `logs/SOURCE/NAME`; `changed` is replaced in the texts of a file.

    Returns the events in order of time: id, file below `logs`, offset in bytes, and truth.
    """
    rows: list[Row] = []
    files: dict[str, _File] = {}
    for record in records:
        folder, _, rest = record.file.partition("/")
        name = f"{folder}/{session.name}/{rest}"
        if record.file not in files:
            files[record.file] = _File(logs / name, record.file, session, seed, changed.get(record.file, ()))
        offset = files[record.file].add(record)
        rows.append((event_id(name, offset), name, offset, record.truth))
    for file in files.values():
        file.close()
    return rows


class _File:
    """A file of one source: what stands before, between and behind its events."""

    def __init__(
        self, path: Path, name: str, session: Session, seed: int, changed: Sequence[tuple[re.Pattern[str], str]]
    ) -> None:
        self._changed = changed
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._name, self._session = path, name, session
        self._file: IO[bytes] = path.open("wb")
        self._offset = 0
        self._rng = stream(seed, "numbers", session.number, name)
        self._number = 0 if name.startswith("network/") else self._rng.randrange(1_000, 90_000)
        self._places: dict[tuple[str, str], int] = {}
        self._begun = False
        self._tail = ""
        head = ""
        if name == DNS:
            head = "".join(f"{line}\n" for line in dns_header(session.start))
            self._tail = f"#close\t{moment(session.end):%Y-%m-%d-%H-%M-%S}\n"
        elif name.startswith(_BUCKETS):
            head, self._tail = bucket_ends(name, session.start)
        self._put(head)

    def add(self, record: Record) -> int:
        """Write a record; its offset in bytes."""
        if self._name.startswith(_BUCKETS):
            self._put(",\n" if self._begun else "")
            self._begun = True
            offset = self._offset
            self._put(self._text(record.body))
            return offset
        offset = self._offset
        self._put(self._text(record.body) + "\n")
        return offset

    def close(self) -> None:
        """Write the file's end; a reader takes the year of BSD syslog times from the file's own time."""
        self._put(self._tail)
        self._file.close()
        seconds = self._session.end // SECOND
        os.utime(self._path, (seconds, seconds))

    def _text(self, body: str | dict[str, Any]) -> str:
        text = self._plain(body)
        for was, becomes in self._changed:
            text = was.sub(becomes, text)
        return text

    def _plain(self, body: str | dict[str, Any]) -> str:
        if isinstance(body, str):
            if NUMBER not in body:
                return body
            self._number += 1
            return body.replace(NUMBER, str(self._number))
        place = (body["Hostname"], body["Channel"])
        if place not in self._places:
            self._places[place] = self._rng.randrange(10_000, 900_000)
        self._places[place] += 1
        return orjson.dumps(collected(body | {"RecordNumber": self._places[place]})).decode()

    def _put(self, text: str) -> None:
        if text:
            self._offset += self._file.write(text.encode())
