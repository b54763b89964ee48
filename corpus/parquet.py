"""How the corpus writes Parquet."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Columns whose values repeat; the others would only fill a dictionary for nothing.
_DICTIONARY = ["source", "file", "host", "user", "process", "log_type", "label", "reason"]


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A zstd-compressed Parquet file."""
    repeated = [name for name in _DICTIONARY if name in schema.names]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)
