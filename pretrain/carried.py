"""Token shards made small, to carry them to a machine that has no corpus: ids alone, 16 bits each, compressed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.errors import UserError

_LARGEST = 2**16


def slim_shard(folder: Path, out: Path, tokens: int, split: str = "train") -> int:
    """Write events of a token shard, evenly spaced and at most `tokens` in all, to the same file in `out`.

    The copy is read like the shard itself. Returns its tokens.

    Raises:
        UserError: no such shard, or a vocabulary above 65,536.
    """
    events = read_shard(folder, split)
    lengths = np.array([len(event) for event in events])
    wanted = round(len(events) * min(1.0, tokens / max(1, int(lengths.sum()))))
    rows = np.unique(np.linspace(0, len(events) - 1, wanted, dtype=np.int64))
    chosen = [events[row] for row in rows[np.cumsum(lengths[rows]) <= tokens]] if len(rows) else []
    if any(int(event.max()) >= _LARGEST for event in chosen):
        raise UserError("token ids above 65,535 don't fit into 16 bits", folder)
    column = pa.array([event.astype(np.uint16) for event in chosen], pa.list_(pa.uint16()))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{split}.parquet"
    # A dictionary's bit-packed numbers hide from the compressor what records have in common.
    table = pa.table({"input_ids": column})
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=False)
    return sum(map(len, chosen))


def read_shard(folder: Path, split: str = "train") -> list[np.ndarray]:
    """The ids (int64) of all events of a token shard, slim or not, in memory.

    Raises:
        UserError: no such shard.
    """
    path = folder / f"{split}.parquet"
    if not path.is_file():
        raise UserError("not a folder of token shards", folder, "Give the folder tokens/ of a pretraining run.")
    column = pq.read_table(path, columns=["input_ids"]).column("input_ids").combine_chunks()
    if not len(column):
        return []
    ids = column.flatten().to_numpy().astype(np.int64)
    return np.split(ids, np.cumsum(np.diff(column.offsets.to_numpy()))[:-1])
