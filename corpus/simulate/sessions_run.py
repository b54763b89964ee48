"""The stage of `logfm simulate --sessions`: files of logs for each session, and the truth of all beside them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest, digest, finished, produce, read_manifest, stage_key
from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import invented
from logfm.corpus.simulate.drift import load_changes, rewrites, world_at
from logfm.corpus.simulate.planning import Session, is_held, plan
from logfm.corpus.simulate.running import LOGS, STAGE, TRUTH, code
from logfm.corpus.simulate.running import TRUTH_SCHEMA as SPAN_TRUTH_SCHEMA
from logfm.corpus.simulate.session import all_routines, play_session
from logfm.corpus.simulate.session_files import write_session
from logfm.corpus.simulate.sources_of import record_specs
from logfm.corpus.simulate.templates import Scenario, load_scenarios
from logfm.corpus.simulate.world import World, make_world
from logfm.errors import UserError

SESSIONS = "sessions.parquet"
TRUTH_SCHEMA = SPAN_TRUTH_SCHEMA.insert(1, pa.field("session", pa.string(), nullable=False))
SESSIONS_SCHEMA = pa.schema(
    [
        pa.field("session", pa.string(), nullable=False),
        pa.field("user", pa.string(), nullable=False),
        pa.field("host", pa.string(), nullable=False),
        pa.field("start", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("end", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("events", pa.int64(), nullable=False),
        pa.field("attack_events", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("scenario", pa.string()),
        pa.field("techniques", pa.list_(pa.string()), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
_AHEAD = 4
"""Sessions that each worker may be ahead of what is written: memory stays small."""


def simulate_sessions(config: SessionsConfig, out: Path, workers: int | None = None) -> Manifest:
    """Write sessions to `out/logs/SOURCE/NAME`, their truth beside; a finished `out` stays.

    `truth.parquet` has a row for every event, `sessions.parquet` for every session. The same configuration gives the
    same bytes, whatever the number of `workers` (processes; by default one a core).

    Raises:
        UserError: an unknown scenario or technique, or `out` is taken.
    """
    scenarios = load_scenarios(config.scenarios, wide=True)
    _check_holdout(config.holdout_techniques, scenarios)
    behaviour = digest([one.model_dump(mode="json") for one in (*scenarios, *all_routines(), *load_changes())])
    sources = digest({name: known.spec.model_dump(mode="json") for name, known in record_specs().items()})
    document, inputs = config.dump(), {"behaviour": behaviour, "sources": sources, "code": code()}
    inputs |= invented.versions()
    if done := finished(out, stage_key(STAGE, document, config.seed, inputs)):
        return done
    with produce(out, stage=STAGE, config=document, inputs=inputs, seed=config.seed) as work:
        work.metrics.update(_run(config, scenarios, work.path, workers or len(os.sched_getaffinity(0))))
    return read_manifest(out, STAGE)


def _check_holdout(techniques: Sequence[str], scenarios: Sequence[Scenario]) -> None:
    known = {name for one in scenarios for step in one.steps for name in step.technique}
    for technique in techniques:
        if not any(is_held(name, (technique,)) for name in known):
            # An id one digit away is another technique altogether; parts of the same one are near.
            near = [name for name in known if technique and name.startswith(technique.partition(".")[0])]
            raise UserError("no scenario has the technique", technique, f"Known: {', '.join(sorted(near or known))}.")


def _run(config: SessionsConfig, scenarios: Sequence[Scenario], folder: Path, workers: int) -> dict[str, Any]:
    planned = plan(config, _world(config.seed, config.hosts), scenarios)
    counts: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    techniques: set[str] = set()
    summaries = []
    with (
        _executor(min(workers, len(planned))) as executor,
        pq.ParquetWriter(folder / TRUTH, TRUTH_SCHEMA, compression="zstd") as writer,
    ):
        make = partial(make_session, config, str(folder / LOGS))
        for session, table in zip(planned, _results(executor, make, planned, workers), strict=True):
            writer.write_table(table)
            row = _summary(session, table)
            summaries.append(row)
            techniques |= set(row["techniques"])
            counts.update(source_of(name) for name in table["file"].to_pylist())
            labels[row["label"]] += 1
            labels["attack events"] += row["attack_events"]
    pq.write_table(pa.Table.from_pylist(summaries, schema=SESSIONS_SCHEMA), folder / SESSIONS)
    return {
        "sessions": len(planned),
        "attack_sessions": labels["attack"],
        "events": sum(counts.values()),
        "attack_events": labels["attack events"],
        "sources": dict(sorted(counts.items())),
        "techniques": len(techniques),
    }


def source_of(file: str) -> str:
    """The source of a file below `logs`, such as `linux/auth.log`: sessions and hosts are left out."""
    folder, _, name = file.split("/")
    return f"{folder}/{name.partition('_')[0]}.json" if folder == "browser" else f"{folder}/{name}"


def make_session(config: SessionsConfig, logs: str, session: Session) -> pa.Table:
    """Make one session's files; the rows of the truth."""
    like = load_scenarios([session.like], wide=True)[0]
    world = world_at(_world(config.seed, config.hosts), config.drift, session.share, session.user)
    records = play_session(world, config, session, like)
    changed = rewrites(config.drift, session.share, session.host)
    rows = [
        (name, session.name, file, offset, truth.label, list(truth.techniques), truth.tactic, truth.scenario,
         truth.step)
        for name, file, offset, truth in write_session(records, session, config.seed, Path(logs), changed)
    ]  # fmt: skip
    columns = zip(*rows, strict=True) if rows else [()] * len(TRUTH_SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA)


@cache
def _world(seed: int, hosts: int) -> World:
    return make_world(seed, hosts)


def _executor(workers: int) -> "Executor | _Here":
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else _Here()


class _Here:
    """No pool: sessions are made in this process."""

    def __enter__(self) -> "_Here":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _results(
    executor: "Executor | _Here", make: "partial[pa.Table]", planned: Iterable[Session], workers: int
) -> Iterator[pa.Table]:
    if isinstance(executor, _Here):
        yield from map(make, planned)
        return
    waiting = iter(planned)
    running = [executor.submit(make, one) for one in islice(waiting, _AHEAD * workers)]
    while running:
        yield running.pop(0).result()
        running += [executor.submit(make, one) for one in islice(waiting, 1)]


def _summary(session: Session, table: pa.Table) -> dict[str, Any]:
    attack = [row for row in table.select(["label", "techniques"]).to_pylist() if row["label"] == "attack"]
    return {
        "session": session.name,
        "user": session.user,
        "host": session.host,
        "start": session.start,
        "end": session.end,
        "events": table.num_rows,
        "attack_events": len(attack),
        "label": "attack" if attack else "benign",
        "scenario": session.scenario if attack else None,
        "techniques": sorted({name for row in attack for name in row["techniques"]}),
        "split": session.split,
    }
