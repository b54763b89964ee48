"""Pass 2: record batches of events, and of rejects, without their identifiers."""

from functools import lru_cache

import pyarrow as pa

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize.files import anonymous_path
from logfm.corpus.anonymize.identifiers import Identifiers
from logfm.corpus.anonymize.key import keyed_event_id
from logfm.corpus.anonymize.names import Kind, Pseudonyms
from logfm.corpus.anonymize.rewrite import Rewriter

_NAMED: dict[str, Kind] = {"host": "host", "user": "user"}
_READ = ("text", "fields", "process", "session_id", "label", "source")
_REPEATED = ("process", "session_id", "label", "source")


class Anonymizer:
    """Rewrites batches under a key: the same key, identifiers and configuration give the same output anywhere."""

    def __init__(self, key: bytes, identifiers: Identifiers, config: AnonymizeConfig | None = None) -> None:
        self._key = key
        self._rewriter = Rewriter(key, identifiers, config or AnonymizeConfig())
        names = Pseudonyms(key)
        self.path = lru_cache(maxsize=1 << 14)(lambda path: anonymous_path(path, self._rewriter.text, names))
        self._repeated = lru_cache(maxsize=1 << 14)(self._rewriter.text)
        self._named = lru_cache(maxsize=1 << 14)(self._rewriter.value)

    def text(self, text: str) -> str:
        """One text without its identifiers."""
        return self._rewriter.text(text)

    def events(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of SCHEMA, or of some of its columns, rewritten; `offset`, times, `log_type` and `techniques` stay.

        An `event_id` is made from a file's name, so it is keyed too: whoever has the key finds it again.
        """
        columns = [self._column(name, batch.column(name)) for name in batch.schema.names]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def table(self, table: pa.Table) -> pa.Table:
        """A table of some of SCHEMA's columns, such as labels, rewritten as `events` does."""
        batches = [self.events(batch) for batch in table.to_batches()]
        return pa.Table.from_batches(batches, schema=table.schema).combine_chunks()

    def rejects(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of rejects: file names mapped, excerpts emptied, as what could not be read cannot be cleaned."""
        columns = [self._reject(name, batch.column(name)) for name in batch.schema.names]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _column(self, name: str, column: pa.Array) -> pa.Array:
        if name in _NAMED:
            kind = _NAMED[name]
            values = [value and self._named(kind, value) for value in column.to_pylist()]
        elif name in _READ:
            read = self._repeated if name in _REPEATED else self._rewriter.text
            values = [value and read(value) for value in column.to_pylist()]
        elif name == "file":
            values = [self.path(value) for value in column.to_pylist()]
        elif name == "event_id":
            values = [keyed_event_id(self._key, value) for value in column.to_pylist()]
        else:
            return column
        return pa.array([value and encodable(value) for value in values], type=column.type)

    def _reject(self, name: str, column: pa.Array) -> pa.Array:
        if name == "excerpt":
            return pa.array([""] * len(column), type=column.type)
        if name in ("file", "reason"):
            read = self.path if name == "file" else self._repeated
            return pa.array([encodable(read(value)) for value in column.to_pylist()], type=column.type)
        return column


def encodable(text: str) -> str:
    """The text with characters that UTF-8 cannot carry (lone surrogates) replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
