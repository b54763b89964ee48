"""Data sets that are made: simulated telemetry with its truth, and mixtures of other data sets."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from logfm.configs.schema.simulate import SimulateConfig
from logfm.configs.schema.suite import DataSpec
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate.running import LOGS, TRUTH, simulate
from logfm.evaluation.data.native.general import object_of
from logfm.evaluation.data.rows import Place, Row, listed, only_drops, option


def simulated(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """logfm's own telemetry in order of time, 1 for events of an attack; `group` is the host, `kind` the scenario.

    The seed stands in `path` (`simulated:SEED`); `options` are `events`, `attacks`, `hosts`, and `sources` to keep.
    """
    only_drops(spec, ())
    config = SimulateConfig(
        seed=int(spec.path.partition(":")[2] or 0),
        events=int(option(spec, "events", "4000")),
        attacks=int(option(spec, "attacks", "8")),
        hosts=int(option(spec, "hosts", "12")),
    )
    kept = set(listed(spec, "sources"))
    with tempfile.TemporaryDirectory(prefix="logfm-simulated-") as folder:
        simulate(config, Path(folder) / "made")
        logs = Path(folder) / "made" / LOGS
        truth = {row["event_id"]: row for row in pq.read_table(Path(folder) / "made" / TRUTH).to_pylist()}
        rows = [_row(event, truth) for event in read_events([logs]) if isinstance(event, Event)]
    rows.sort(key=lambda row: row.time or 0.0)
    for row in rows:
        yield row if not kept or row.source in kept else "of another source"


def _row(event: Event, truth: dict[str, dict[str, object]]) -> Row:
    known = truth[event.event_id]
    attack = known["label"] != "benign"
    return Row(
        text=event.text,
        label=int(attack),
        group=event.host or event.source,
        time=None if event.timestamp is None else event.timestamp.timestamp(),
        source=event.source,
        record=object_of(event.text if event.text.startswith("{") else event.fields),
        kind=str(known["scenario"]) if attack else "",
    )


def mixed(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Several data sets (`options.parts`) one behind the other: every line has to be told from those of all others.

    Templates are named by their part; a part has an equal share of the most rows. A part that is not at hand is
    named among what was left out.
    """
    from logfm.evaluation.data.find import parts_of
    from logfm.evaluation.data.load import load

    only_drops(spec, ())
    parts = parts_of(spec, place.folder)
    present = {part.name for part in parts}
    yield from (f"{name} is not at hand" for name in listed(spec, "parts") if name not in present)
    most = None if place.most is None else max(1, place.most // len(parts))
    sets = {part.name: load(part, place.folder, most) for part in parts}
    labelled = all(data.labels is not None for data in sets.values())
    for name, data in sets.items():
        # What a part tells apart (products, rules) stays apart; bootstraps draw it.
        told = data.sources if data.sources is not None and len(set(data.sources)) > 1 else None
        for row, text in enumerate(data.texts):
            yield Row(
                text=text,
                template=None if data.templates is None else f"{name}:{data.templates[row]}",
                label=int(data.labels[row]) if labelled and data.labels is not None else None,
                group=None if data.groups is None else f"{name}:{data.groups[row]}",
                time=None if data.times is None else float(data.times[row]),
                source=name if told is None else told[row] if len(parts) == 1 else f"{name}:{told[row]}",
                record=None if data.records is None else data.records[row],
                query=None if data.queries is None else data.queries[row],
                kind=None if data.classes is None else f"{name}:{data.classes[row]}" if data.classes[row] else "",
            )
        yield from (f"{name}: {reason}" for reason, count in data.left_out.items() for _ in range(count))
