"""Anonymisation as a part of the build: names are collected over all shards, then every shard is rewritten."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, reduce
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize import Anonymizer, Names, collect, key_id, resolve
from logfm.corpus.contamination import write_part
from logfm.corpus.shards import BATCH_ROWS, rewriting, text_hash
from logfm.corpus.templates import template_hashes
from logfm.extras import require

COLUMNS = ["text", "fields", "host", "user", "process", "file"]
Document = dict[str, Any]


class Anonymized(NamedTuple):
    """What is made anew of the rewritten events: files of text hashes and templates, a sum of hashes a source."""

    anonymizer: Anonymizer
    hashes: list[Path]
    templates: list[Path]
    contents: list[dict[str, str]]
    facts: Document


def anonymize_shards(
    shards: Sequence[Path], spool: Path, key: bytes, run: Callable[[str, list[Document]], list[Document]]
) -> Anonymized:
    """Replace the identifiers in all shards; `run` does tasks under a title, `spool` holds names until the build ends.

    Raises:
        UserError: there are more identifiers than can be held.
    """
    config = AnonymizeConfig()
    tasks = [
        {"kind": "names", "task": number, "bytes": shard.stat().st_size, "shard": str(shard)}
        for number, shard in enumerate(shards)
    ]
    found = [Names.of(answer["names"], config) for answer in run("Collecting names", tasks)]
    names = reduce(Names.merge, found)
    (spool / "names.json").write_bytes(orjson.dumps(names.document()))
    more: Document = {"kind": "anonymize", "names": str(spool / "names.json"), "key": key.hex()}
    answers = run("Anonymising", [task | more | {"prefix": str(spool / f"anon-{task['task']:06d}")} for task in tasks])
    prefixes = [spool / f"anon-{task['task']:06d}" for task in tasks]
    identifiers = resolve(names, config)
    return Anonymized(
        Anonymizer(key, identifiers, config),
        [prefix.with_suffix(".hashes") for prefix in prefixes],
        [prefix.with_suffix(".templates") for prefix in prefixes],
        [answer["contents"] for answer in answers],
        {"key": key_id(key), "identifiers": identifiers.counts()},
    )


def anonymous_rejects(path: Path, anonymizer: Anonymizer) -> None:
    """Rewrite the table of rejects: excerpts emptied, files and reasons mapped."""
    table = pq.read_table(path)
    changed = [anonymizer.rejects(batch) for batch in table.to_batches()]
    pq.write_table(pa.Table.from_batches(changed, schema=table.schema), path, compression="zstd")


def anonymous_facts(facts: Document, anonymizer: Anonymizer) -> Document:
    """The counts of a build without anybody's names: files mapped, examples of rejects without their text."""

    def mapped(counts: Document) -> Document:
        return {anonymizer.text(name): value for name, value in counts.items()}

    files = [
        file
        | {name: anonymizer.text(file[name]) for name in ("file", "name", "why")}
        | {name: mapped(file[name]) for name in ("sources", "rejects")}
        for file in facts["files"]
    ]
    examples = {
        anonymizer.text(reason): [{**one, "file": anonymizer.text(one["file"]), "excerpt": ""} for one in some]
        for reason, some in facts["examples"].items()
    }
    whole = {name: mapped(facts[name]) for name in ("sources", "rejects")}
    return facts | whole | {"files": files, "examples": examples}


def collect_names(task: Document, alive: Callable[[], None]) -> Document:
    """The names of one shard, for the worker that was asked."""

    def batches() -> Any:
        for batch in pq.ParquetFile(task["shard"]).iter_batches(batch_size=BATCH_ROWS, columns=COLUMNS):
            yield batch
            alive()

    return {"names": collect(batches(), AnonymizeConfig()).document()}


def rewrite_shard(task: Document, alive: Callable[[], None]) -> Document:
    """Anonymise one shard in place, and hash what its texts have become.

    Raises:
        OSError: the disk is full or gone.
    """
    anonymizer = _anonymizer(task["names"], task["key"])
    prefix = Path(task["prefix"])
    contents: Counter[str] = Counter()
    templates = []
    with rewriting(Path(task["shard"])) as (batches, writer), prefix.with_suffix(".hashes").open("wb") as hashes:
        for batch in batches:
            changed = anonymizer.events(batch)
            writer.write_batch(changed)
            templates.append(template_hashes(changed.column("text")))
            texts, sources = (changed.column(name).to_pylist() for name in ("text", "source"))
            for text, source in zip(texts, sources, strict=True):
                value = text_hash(text)
                hashes.write(value)
                contents[source] += int.from_bytes(value, "little")
            alive()
    write_part(templates, prefix.with_suffix(".templates"))
    return {"contents": {source: f"{value % (1 << 128):x}" for source, value in contents.items()}}


@cache
def _anonymizer(names: str, key: str) -> Anonymizer:
    require("ahocorasick_rs", "anonymize")
    config = AnonymizeConfig()
    found = Names.of(orjson.loads(Path(names).read_bytes()), config)
    return Anonymizer(bytes.fromhex(key), resolve(found, config), config)
