"""The work of a build, cut into tasks by the inputs alone, so that any number of workers gives the same corpus."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import Input, opened
from logfm.corpus.events import Event, Reject
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.read import Labels, Part, read_input
from logfm.corpus.shards import REJECT_SCHEMA, ShardWriter, in_batches, reject_batch
from logfm.corpus.tally import Tally
from logfm.corpus.unpack import kind_of
from logfm.corpus.zips import zip_sizes

if TYPE_CHECKING:
    from logfm.corpus.anonymize import Anonymizer
    from logfm.corpus.dedup.signatures import SignatureWriter

Document = dict[str, Any]
_PACKED = {"gzip": 10, "bzip2": 12, "xz": 15, "zstd": 10}  # usual ratios of logs, to plan with
_MOST_UNITS = 2000
_REJECTS_HELD = 4096


def plan(inputs: Sequence[Input], config: CorpusConfig) -> list[Document]:
    """Tasks of about a shard of text each: consecutive inputs together, large zips cut between members."""
    tasks: list[Document] = []
    units: list[Document] = []
    size = 0
    for one in inputs:
        for unit, amount in _units(one, config):
            if units and (size + amount > config.shard_bytes or len(units) >= _MOST_UNITS):
                tasks.append(_task(len(tasks), size, units))
                units, size = [], 0
            units.append(unit)
            size += amount
    tasks.append(_task(len(tasks), size, units))
    return tasks


def _task(number: int, size: int, units: list[Document]) -> Document:
    return {"kind": "read", "task": number, "bytes": size, "units": units}


def _units(one: Input, config: CorpusConfig) -> Iterator[tuple[Document, int]]:
    unit: Document = {
        "path": os.fsencode(one.path).hex(),
        "name": one.name,
        "source": one.source,
        "size": one.size,
        "modified": one.modified.timestamp(),
        "label": one.label,
    }
    try:
        with opened(one.path) as disk:
            kind = kind_of(disk.read(512))
            sizes = zip_sizes(disk) if kind == "zip" else []
    except OSError:
        kind, sizes = None, []
    total = sum(sizes) or one.size * _PACKED.get(kind or "", 1)
    if len(sizes) < 2 or total <= config.shard_bytes or total > config.max_unpacked_bytes:
        yield unit, min(total, 1 << 40)
        return
    start = held = 0
    for number, size in enumerate(sizes):
        if held and held + size > config.shard_bytes:
            yield unit | {"only": [start, number]}, held
            start, held = number, 0
        held += size
    yield unit | {"only": [start, len(sizes)]}, held


def run_task(task: Document, folder: Path, config: CorpusConfig, alive: Callable[[], None]) -> Document:
    """Read the units of a task into shards, hashes and rejects under `folder`; returns what was written.

    `alive` is called after every batch. Where the task carries what is `shared` for anonymisation, all is written
    without its identifiers.

    Raises:
        OSError: the disk is full or gone.
    """
    anonymizer = _anonymizer(task["shared"])
    change = anonymizer.events if anonymizer else None
    prefix = f"task-{task['task']:06d}"
    tallies: list[Tally] = []
    with (
        (folder / f"{prefix}.hashes").open("wb") as hashes,
        parquet_writer(folder / f"{prefix}.rejects.parquet", REJECT_SCHEMA) as rejects,
        _signatures(folder / prefix, config) as signatures,
    ):
        writer = ShardWriter(
            folder, prefix, config.shard_bytes, hashes, change, signatures,
            originals=config.anonymize.index_originals,
        )  # fmt: skip
        held: list[Reject] = []

        def flush(limit: int = 0) -> None:
            if len(held) > limit:
                batch = reject_batch(held)
                rejects.write_batch(anonymizer.rejects(batch) if anonymizer else batch)
                held.clear()

        def events() -> Iterator[Event]:
            for part in parts(task, config):
                tally = Tally(part.file, part.name, part.format, part.why)
                tallies.append(tally)
                for record in tally.watch(part.records):
                    if isinstance(record, Event):
                        yield record
                    else:
                        held.append(record)
                        flush(_REJECTS_HELD)

        for batch in in_batches(events()):
            writer.write(batch)
            alive()
        writer.close()
        flush()
    return {
        "shards": writer.shards,
        "templates": writer.templates,
        "files": [tally.summary() for tally in tallies],
        "contents": {source: f"{value % (1 << 128):x}" for source, value in writer.contents.items()},
    }


@contextmanager
def _signatures(prefix: Path, config: CorpusConfig) -> Iterator["SignatureWriter | None"]:
    if "near" not in config.dedup:
        yield None
        return
    from logfm.corpus.dedup.signatures import SignatureWriter

    with closing(SignatureWriter(prefix, config.near)) as writer:
        yield writer


def _anonymizer(shared: str) -> "Anonymizer | None":
    if not shared:
        return None
    from logfm.corpus.anonymizing import anonymizer_of

    return anonymizer_of(shared)


@cache
def _labeller(dataset: str, root: str) -> Labels:
    from logfm.corpus.catalog.labeller import Labeller

    return Labeller(dataset, root)


def parts(task: Document, config: CorpusConfig) -> Iterator[Part]:
    """What the units of a reading task hold, in order.

    Raises:
        UserError: a label file of the data set cannot be read.
    """
    root = task.get("root")
    labels = _labeller(config.dataset, root) if config.dataset is not None and root is not None else None
    for unit in task["units"]:
        path = Path(os.fsdecode(bytes.fromhex(unit["path"])))
        modified = datetime.fromtimestamp(unit["modified"], UTC)
        one = Input(path, unit["name"], unit["source"], unit["size"], modified, unit["label"])
        only = unit.get("only")
        yield from read_input(one, config, range(*only) if only else None, labels)
