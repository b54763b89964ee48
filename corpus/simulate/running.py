"""The simulate stage: logs in native formats, and the truth beside them."""

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest, digest, file_hash, finished, produce, read_manifest, stage_key
from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.events import event_id
from logfm.corpus.simulate import invented
from logfm.corpus.simulate.network import Resolvers
from logfm.corpus.simulate.playing import SECOND
from logfm.corpus.simulate.records import DNS, FILES, Record, dns_header, moment
from logfm.corpus.simulate.scheduling import Activity, play, schedule, span
from logfm.corpus.simulate.templates import HERE, Routine, Scenario, load_routines, load_scenarios
from logfm.corpus.simulate.world import World, make_world, stream

STAGE = "simulate"
LOGS = "logs"
TRUTH = "truth.parquet"
TRUTH_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("techniques", pa.list_(pa.string()), nullable=False),
        pa.field("tactic", pa.string()),
        pa.field("scenario", pa.string()),
        pa.field("step", pa.string()),
    ]
)
_BATCH_ROWS = 50_000


def simulate(config: SimulateConfig, out: Path) -> Manifest:
    """Write telemetry to `out/logs` and its truth to `out/truth.parquet`; a finished `out` is left as it is.

    `truth.parquet` has a row for every event: the event's id in a corpus built from `out/logs`, its file below
    `out/logs` and its offset in bytes, the label (benign or attack), and for attacks the ATT&CK techniques, the
    tactic, and the names of scenario and step. The same configuration gives the same bytes, with the same releases of
    the libraries that invent names (`inputs` of the manifest).

    Raises:
        UserError: an unknown scenario, or `out` is taken.
    """
    scenarios, routines = load_scenarios(config.scenarios), load_routines()
    behaviour = digest([one.model_dump(mode="json") for one in (*scenarios, *routines)])
    document, inputs = config.dump(), {"behaviour": behaviour, "code": code()} | invented.versions()
    if done := finished(out, stage_key(STAGE, document, config.seed, inputs)):
        return done
    with produce(out, stage=STAGE, config=document, inputs=inputs, seed=config.seed) as work:
        work.metrics.update(_run(config, scenarios, routines, work.path))
    return read_manifest(out, STAGE)


def code() -> str:
    """The digest of the simulator's own modules: what the same settings give changes with them."""
    return digest({path.name: file_hash(path) for path in sorted(HERE.glob("*.py"))})


def _run(
    config: SimulateConfig, scenarios: Sequence[Scenario], routines: Sequence[Routine], folder: Path
) -> dict[str, Any]:
    world = make_world(config.seed, config.hosts)
    activities = schedule(world, config, scenarios, routines)
    end = span(config)[1]
    logs = folder / LOGS
    for name in FILES:
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writer = stack.enter_context(pq.ParquetWriter(folder / TRUTH, TRUTH_SCHEMA))
        files = {name: stack.enter_context((logs / name).open("wb")) for name in FILES}
        resolvers = Resolvers()
        records = (record for record in _in_order(world, activities, end) if resolvers.ask(record))
        counts = _write(records, files, writer, config)
    for name in FILES:
        # A reader takes the year of BSD syslog times from the file's own time.
        os.utime(logs / name, (end // SECOND, end // SECOND))
    return {
        "events": sum(counts.values()),
        "attack_events": sum(count for (_, label), count in counts.items() if label == "attack"),
        "sources": {name: sum(count for (file, _), count in counts.items() if file == name) for name in FILES},
        "attacks": [one.behaviour.name for one in activities if isinstance(one.behaviour, Scenario)],
    }


def _in_order(world: World, activities: Iterable[Activity], end: int) -> Iterator[Record]:
    """The records of all activities in order of time, up to the end; few are held at once."""
    waiting: list[tuple[int, int, Record]] = []
    made = 0
    for activity in activities:
        while waiting and waiting[0][0] < activity.time:
            yield heapq.heappop(waiting)[2]
        for record in play(world, activity):
            if record.time < end:
                made += 1
                heapq.heappush(waiting, (record.time, made, record))
    while waiting:
        yield heapq.heappop(waiting)[2]


def _write(
    records: Iterable[Record], files: Mapping[str, IO[bytes]], writer: pq.ParquetWriter, config: SimulateConfig
) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    numbers: dict[tuple[str, str], int] = {}
    offsets = dict.fromkeys(files, 0)
    rows: list[tuple[Any, ...]] = []
    start, end = span(config)
    for line in dns_header(start):
        offsets[DNS] += files[DNS].write(f"{line}\n".encode())
    for record in records:
        line_bytes = _line(record, numbers, config.seed)
        name, truth = record.file, record.truth
        offset = offsets[name]
        rows.append((event_id(name, offset), name, offset, truth.label, list(truth.techniques),
                     truth.tactic, truth.scenario, truth.step))  # fmt: skip
        offsets[name] += files[name].write(line_bytes)
        counts[name, truth.label] += 1
        if len(rows) >= _BATCH_ROWS:
            _flush(rows, writer)
    _flush(rows, writer)
    files[DNS].write(f"#close\t{moment(end):%Y-%m-%d-%H-%M-%S}\n".encode())
    return counts


def _line(record: Record, numbers: dict[tuple[str, str], int], seed: int) -> bytes:
    if isinstance(record.body, str):
        return record.body.encode() + b"\n"
    place = (record.body["Hostname"], record.body["Channel"])
    if place not in numbers:
        numbers[place] = stream(seed, "record numbers", *place).randrange(10_000, 900_000)
    numbers[place] += 1
    return orjson.dumps(record.body | {"RecordNumber": numbers[place]}, option=orjson.OPT_APPEND_NEWLINE)


def _flush(rows: list[tuple[Any, ...]], writer: pq.ParquetWriter) -> None:
    columns = zip(*rows, strict=True) if rows else [()] * len(TRUTH_SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)]
    writer.write_table(pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA))
    rows.clear()
