"""The corpus stage: files in, a folder of Parquet shards with views, rejects and a manifest out."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.allocator import reuse_freed_memory
from logfm.artifacts import MANIFEST, Manifest, Work, file_hash, finished, produce, read_manifest, stage_key
from logfm.configs.schema.corpus import CorpusConfig
from logfm.console import progress
from logfm.corpus.contamination import INDEX, write_index
from logfm.corpus.dedup.views import write_views
from logfm.corpus.discover import Input, discover, shown_path
from logfm.corpus.events import Reject
from logfm.corpus.labels import apply_labels, labelled_events, read_labels
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.sessions.grouping import sessions_of
from logfm.corpus.sessions.table import SESSIONS, write_sessions
from logfm.corpus.shards import REJECT_SCHEMA, reject_batch
from logfm.corpus.store import EVENTS, REJECTS, SESSIONS_FILE
from logfm.corpus.survey import describe
from logfm.corpus.tasks import Document, plan
from logfm.corpus.workers import Engine, run_tasks
from logfm.errors import UserError

STAGE = "corpus"


def build(
    inputs: Sequence[str | Path],
    out: Path,
    config: CorpusConfig | None = None,
    *,
    workers: int | None = None,
    labels: Path | None = None,
    engine: Engine = "local",
    key: bytes | None = None,
) -> Manifest:
    """Read `inputs` into the corpus folder `out`; the same bytes and configuration give the same corpus.

    A finished `out` of the same inputs and configuration is left as it is. `workers` processes read (all cores by
    default, one for small inputs); their number changes nothing in the result. `labels` is a table of labels by
    event (see `corpus.labels.read_labels`), such as the simulator's truth. `engine` "ray" spreads the work over a Ray
    cluster; it changes nothing in the result either. With a `key` (see `corpus.anonymize.read_key`) every identifier
    is replaced by a pseudonym before anything else is derived or written, and hashes of the inputs are keyed, so that
    no guess at their content can be confirmed without it; the key is not kept.

    Raises:
        UserError: a path is missing, nothing was found, no event was read, or `out` is taken.
        LogfmError: the disk is full or a worker died.
    """
    reuse_freed_memory()
    config = config or CorpusConfig()
    _check_places(inputs, out)
    found, rejects = discover(inputs)
    found, hashes = _hashes(found, rejects)
    if not hashes:
        raise UserError(
            f"nothing to read ({_reasons(Counter(one.reason for one in rejects))})", ", ".join(map(str, inputs))
        )
    if config.dataset is not None:
        config = _with_licence(config, inputs)
    document = config.dump()
    table = None
    if labels is not None:
        table = read_labels(labels)
        hashes = hashes | {f"labels {labels.name}": file_hash(labels)}
    if key is not None:
        from logfm.corpus.anonymize import key_id, keyed_hash

        document |= {"anonymized_with": key_id(key)}
        # Names of files and folders tell names too.
        hashes = {f"input {number:06d}": keyed_hash(key, value) for number, value in enumerate(hashes.values())}
    if done := finished(out, stage_key(STAGE, document, 0, hashes)):
        return done
    run = partial(run_tasks, workers=workers, engine=engine)
    with produce(out, stage=STAGE, config=document, inputs=hashes) as work:
        root = Path(inputs[0]) if config.dataset is not None else None
        _run(work, found, rejects, config, root, table, key, run)
    return read_manifest(out, STAGE)


def _run(
    work: Work,
    found: Sequence[Input],
    rejects: Sequence[Reject],
    config: CorpusConfig,
    root: Path | None,
    labels: pa.Table | None,
    key: bytes | None,
    run: Callable[..., list[Document]],
) -> None:
    # A name of its own: a worker of a killed run, still busy for a moment, finds its folder gone.
    spool, events = Path(tempfile.mkdtemp(prefix="spool-", dir=work.path)), work.path / EVENTS
    events.mkdir()
    tasks = plan(found, config)
    if root is not None:
        tasks = [task | {"root": str(root.absolute())} for task in tasks]
    memory: list[int] = []

    def further(title: str, more: list[Document], shared: str = "") -> list[Document]:
        with progress(title, sum(task["bytes"] for task in more)) as advance:
            answers = run(more, spool, config, done=advance, shared=shared)
        memory.extend(answer["peak_memory_bytes"] for answer in answers)
        return answers

    anonymizer, shared = None, ""
    if key is not None:
        from logfm.corpus.anonymizing import anonymizer_of, gather_names

        shared, work.metrics["anonymized"] = gather_names(tasks, key, further, config.anonymize)
        anonymizer = anonymizer_of(shared)
    results = further("Reading", tasks, shared)
    facts = describe([file for result in results for file in result["files"]], rejects)
    if not facts["events"]:
        raise UserError(f"no event was read ({_reasons(facts['rejects'])})", ", ".join(one.name for one in found[:3]))
    for number, shard in enumerate(shard for result in results for shard in result["shards"]):
        (spool / shard).rename(events / f"part-{number:05d}.parquet")
    shards, first = sorted(events.iterdir()), reject_batch(rejects)
    if anonymizer is not None:
        from logfm.corpus.anonymizing import anonymous_facts

        first, facts = anonymizer.rejects(first), anonymous_facts(facts, anonymizer)
        labels = None if labels is None else anonymizer.table(labels)
    _write_rejects(work.path / REJECTS, first, [_spooled(spool, task, "rejects.parquet") for task in tasks])
    if labels is not None:
        work.metrics["labelled"] = apply_labels(shards, labels)
    elif config.dataset is not None:
        work.metrics["labelled"] = labelled_events(shards)
    work.licences.update(config.licences)
    work.metrics.update(facts)
    _derive(work, shards, results, spool, config)
    work.metrics["rejected"] = sum(facts["rejects"].values())
    work.metrics["reader_peak_memory_bytes"] = max(memory)
    shutil.rmtree(spool)


def _derive(
    work: Work,
    shards: Sequence[Path],
    results: Sequence[Document],
    spool: Path,
    config: CorpusConfig,
) -> None:
    """What follows from the events: sessions, the contamination index, identities of the sources, views."""
    if config.sessions is not None:
        work.metrics["sessions"] = _write_sessions(shards, config.sessions, spool, work.path / SESSIONS_FILE)
    templates = [spool / name for result in results for name in result["templates"]]
    work.metrics["templates"] = write_index(templates, work.path / INDEX)
    for source, value in _sums([result["contents"] for result in results]).items():
        work.metrics["sources"][source] |= {"content": value, "licences": list(config.licences)}
    hashes = [_spooled(spool, result, "hashes") for result in results]
    kept = write_views(hashes, shards, spool, work.path / "views", config)
    for view, kept_name, left_name in (("exact", "unique", "duplicates"), ("near", "distinct", "near_duplicates")):
        if view in kept:
            _count_view(work.metrics, kept[view], kept_name, left_name, "events" if view == "exact" else "unique")


def _count_view(metrics: Document, kept: Counter[str], kept_name: str, left_name: str, before: str) -> None:
    """Put into the metrics what a view keeps and leaves out of what was there `before` it, in all and by source."""
    for one, count in ((metrics, kept.total()), *((facts, kept[name]) for name, facts in metrics["sources"].items())):
        one[kept_name], one[left_name] = count, one[before] - count


def _with_licence(config: CorpusConfig, inputs: Sequence[str | Path]) -> CorpusConfig:
    """The configuration with the data set's licence among the licences, which travel with every artifact."""
    from logfm.corpus.catalog.catalogue import dataset

    found = dataset(str(config.dataset))
    if len(inputs) != 1 or not Path(inputs[0]).is_dir():
        raise UserError(f"a copy of the data set {found.name} is one folder", ", ".join(map(str, inputs)))
    licences = tuple(dict.fromkeys((*config.licences, found.licence_text)))
    return config.model_copy(update={"licences": licences})


def _sums(contents: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The identity of each source's texts: their hashes added up over the tasks, as 32 hex digits."""
    total: Counter[str] = Counter()
    for one in contents:
        total.update({source: int(value, 16) for source, value in one.items()})
    return {source: f"{value % (1 << 128):032x}" for source, value in total.items()}


def _write_sessions(shards: Sequence[Path], gap: float, spool: Path, path: Path) -> int:
    """Find the sessions, name them in the events, and write their table; returns their number."""
    numbers, count = sessions_of(shards, gap, spool / "sessions")
    rows = write_sessions(shards, numbers, count)
    with parquet_writer(path, SESSIONS) as writer:
        while some := list(islice(rows, 10_000)):
            writer.write_table(pa.Table.from_pylist(some, schema=SESSIONS))
    return count


def _check_places(inputs: Sequence[str | Path], out: Path) -> None:
    for given in inputs:
        folder = Path(given)
        if (folder / MANIFEST).is_file():
            raise UserError("this is a logfm artifact already, no raw logs", given)
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            raise UserError("the output folder lies inside the input", out, "Choose another --out.")


def _hashes(found: Sequence[Input], rejects: list[Reject]) -> tuple[list[Input], dict[str, str]]:
    """SHA-256 of each input's bytes; an input that cannot be read becomes a reject."""

    def attempt(one: Input) -> str | OSError:
        try:
            return file_hash(one.path)
        except OSError as error:
            return error

    hashes: dict[str, str] = {}
    kept: list[Input] = []
    with ThreadPoolExecutor() as pool:
        for one, result in zip(found, pool.map(attempt, found), strict=True):
            if isinstance(result, OSError):
                rejects.append(Reject(shown_path(one.path), 0, f"cannot be read ({result.strerror or result})"))
            else:
                hashes[one.name] = result
                kept.append(one)
    return kept, hashes


def _spooled(spool: Path, task: Document, kind: str) -> Path:
    return spool / f"task-{task['task']:06d}.{kind}"


def _reasons(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in sorted(reasons.items())[:5]) or "no files"


def _write_rejects(path: Path, first: pa.RecordBatch, parts: Sequence[Path]) -> None:
    with parquet_writer(path, REJECT_SCHEMA) as writer:
        if first.num_rows:
            writer.write_batch(first)
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches():
                writer.write_batch(batch)
