"""How the corpus writes Parquet."""

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Columns whose values repeat; the others would only fill a dictionary for nothing.
_DICTIONARY = ["source", "file", "host", "user", "process", "log_type", "label", "reason"]


class _Writer(pq.ParquetWriter):  # type: ignore[misc]
    """A writer that a failure left open says nothing more when it is collected: the failure was told already."""

    def __del__(self) -> None:
        with suppress(OSError):
            super().__del__()


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A zstd-compressed Parquet file."""
    repeated = [name for name in _DICTIONARY if name in schema.names]
    return _Writer(path, schema, compression="zstd", use_dictionary=repeated)
