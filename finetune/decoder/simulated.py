"""Sessions of the simulator: every event of one time line with its own truth."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from logfm.artifacts import read_manifest
from logfm.configs.schema.cases import SimulatedSource
from logfm.corpus.discover import shown_path
from logfm.corpus.events import Event, event_id
from logfm.corpus.labels import is_attack
from logfm.corpus.read import read_events
from logfm.corpus.simulate.running import LOGS, STAGE, TRUTH
from logfm.corpus.simulate.sessions_run import SESSIONS
from logfm.errors import UserError
from logfm.finetune.decoder.groups import Counts, Group, Labelled

_COLUMNS = ["event_id", "session", "file", "label", "techniques", "tactic", "step"]


def read_simulated(source: SimulatedSource, counts: Counts) -> Iterator[Group]:
    """The sessions in order, one held at a time.

    Raises:
        UserError: not what `logfm simulate --sessions` wrote.
    """
    folder = Path(source.input[0])
    read_manifest(folder, STAGE)
    if len(source.input) > 1 or not (folder / SESSIONS).is_file():
        raise UserError("not simulated sessions", folder, "Make them: logfm simulate --sessions N --out DIR.")
    parts = dict(zip(*pq.read_table(folder / SESSIONS, columns=["session", "split"]).to_pydict().values(), strict=True))
    logs = folder / LOGS
    before = len(shown_path(logs)) + 1
    for session, rows in groupby(_truth(folder / TRUTH), key=itemgetter("session")):
        truth = {row["event_id"]: row for row in rows}
        files = [name for name in sorted({row["file"] for row in truth.values()}) if not _skipped(name, source)]
        counts["events of files that were not asked for"] += sum(
            _skipped(row["file"], source) for row in truth.values()
        )
        if not files:
            continue
        events = (one for one in read_events([logs / name for name in files]) if isinstance(one, Event))
        labelled = [_labelled(event, truth, before, counts) for event in events]
        yield Group(session, source.name, labelled, "event", source.by, parts.get(session))


def _truth(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=_COLUMNS):
            yield from batch.to_pylist()


def _skipped(file: str, source: SimulatedSource) -> bool:
    return any(fnmatchcase(file.rpartition("/")[2], pattern) for pattern in source.skip)


def _labelled(event: Event, truth: dict[str, dict[str, Any]], before: int, counts: Counts) -> Labelled:
    # The event was read as a file of its own: its identity is that of the corpus of all logs.
    event.event_id = event_id(event.file[before:], event.offset)
    row = truth.get(event.event_id)
    if row is None:
        counts["events without a truth"] += 1
        return Labelled(event, False)
    tactics = (row["tactic"],) if row["tactic"] else ()
    reason = (row["step"] or "").replace("_", " ")
    return Labelled(event, is_attack(row["label"]), tuple(row["techniques"] or ()), reason, tactics)
