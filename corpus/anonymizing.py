"""Anonymisation as a part of the build: names are collected in memory, then all is read again and written changed.

Reading twice costs little beside the rewriting, and nothing original ever lies on the disk, whenever a run is killed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from typing import Any

import orjson

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize import Anonymizer, Names, collect, key_id, resolve
from logfm.corpus.anonymize.collecting import COLUMNS
from logfm.corpus.events import Event
from logfm.corpus.read import Part
from logfm.corpus.shards import event_batch, in_batches
from logfm.extras import require

Document = dict[str, Any]


def gather_names(
    tasks: Sequence[Document],
    key: bytes,
    run: Callable[[str, list[Document]], list[Document]],
    config: AnonymizeConfig,
) -> tuple[str, Document]:
    """Collect the names in all that the reading tasks read; `run` does tasks under a title.

    Returns what `anonymizer_of` takes, and what a manifest may say: the key's name, the number of identifiers a kind.

    Raises:
        UserError: there are more identifiers than can be held.
    """
    answers = run("Collecting names", [task | {"kind": "names"} for task in tasks])
    names = reduce(Names.merge, (Names.of(answer["names"], config) for answer in answers))
    shared = orjson.dumps({"names": names.document(), "key": key.hex(), "config": config.dump()}).decode()
    return shared, {"key": key_id(key), "identifiers": resolve(names, config).counts()}


def names_in(parts: Callable[[], Any], alive: Callable[[], None], config: AnonymizeConfig) -> Document:
    """The names in the events of the parts of one task, for the worker that was asked."""

    def events() -> Any:
        part: Part
        for part in parts():
            yield from (record for record in part.records if isinstance(record, Event))

    def batches() -> Any:
        for some in in_batches(events()):
            yield event_batch(some, COLUMNS)
            alive()

    return {"names": collect(batches(), config).document()}


@lru_cache(maxsize=1)
def anonymizer_of(shared: str) -> Anonymizer:
    """The anonymizer that the names and the key of `gather_names` make."""
    require("ahocorasick_rs", "anonymize")
    document = orjson.loads(shared)
    config = AnonymizeConfig.model_validate(document["config"])
    names = Names.of(document["names"], config)
    return Anonymizer(bytes.fromhex(document["key"]), resolve(names, config), config)


def anonymous_facts(facts: Document, anonymizer: Anonymizer) -> Document:
    """The counts of a build without anybody's names: files and fields mapped, examples of rejects without text."""

    def mapped(counts: Document) -> Document:
        return {anonymizer.text(name): value for name, value in counts.items()}

    files = [
        file
        | {name: anonymizer.path(file[name]) for name in ("file", "name")}
        | {"why": anonymizer.text(file["why"])}
        | {name: mapped(file[name]) for name in ("sources", "rejects")}
        | {"fields": [anonymizer.text(name) for name in file["fields"]]}
        for file in facts["files"]
    ]
    examples = {
        anonymizer.text(reason): [{**one, "file": anonymizer.path(one["file"]), "excerpt": ""} for one in some]
        for reason, some in facts["examples"].items()
    }
    whole = {name: mapped(facts[name]) for name in ("sources", "rejects")}
    return facts | whole | {"files": files, "examples": examples}
