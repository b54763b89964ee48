"""Sessions of the simulator: every event of one time line with its own truth."""

from collections.abc import Iterator, Sequence
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
    parts = _parts(folder / SESSIONS, source.test_scenarios)
    logs = folder / LOGS
    before = len(shown_path(logs)) + 1
    for session, rows in groupby(_truth(folder / TRUTH), key=itemgetter("session")):
        if parts.get(session) is None:
            counts["test sessions of an attack that train has"] += 1
            continue
        truth = {row["event_id"]: row for row in rows}
        files = [name for name in sorted({row["file"] for row in truth.values()}) if not _skipped(name, source)]
        counts["events of files that were not asked for"] += sum(
            _skipped(row["file"], source) for row in truth.values()
        )
        if not files:
            continue
        events = (one for one in read_events([logs / name for name in files]) if isinstance(one, Event))
        labelled = [_labelled(event, truth, before, counts) for event in events]
        yield Group(session, source.name, labelled, "event", source.by, parts[session])


def _parts(path: Path, scenarios: Sequence[str]) -> dict[str, str]:
    """The part of each session; one that is in none is left out.

    Raises:
        UserError: no session has such a scenario.
    """
    names = ["session", "split", *(["scenario"] if scenarios else [])]
    rows = pq.read_table(path, columns=names).to_pylist()
    known = sorted({row["scenario"] for row in rows if row.get("scenario")})
    for name in scenarios:
        if name not in known:
            raise UserError("no session has the scenario", name, f"Known: {', '.join(known)}.")
    found = {}
    for row in rows:
        attack = row.get("scenario")
        if attack in scenarios:
            found[row["session"]] = "test"
        elif not (scenarios and attack and row["split"] == "test"):
            found[row["session"]] = row["split"]
    return found


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
