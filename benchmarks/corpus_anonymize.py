"""Speed of both passes of anonymisation on real events, one process; prints a Markdown table.

Usage: python benchmarks/corpus_anonymize.py INPUT... [--events N] (INPUT: raw logs, such as an OTRF archive). Bytes
are those of `text` and `fields`. Reading is not timed.
"""

import argparse
import secrets
import time
from collections.abc import Iterator
from itertools import islice

import pyarrow as pa

from logfm.corpus import Event, read_events
from logfm.corpus.anonymize import Anonymizer, collect, resolve
from logfm.corpus.shards import event_batch, in_batches


def batches(inputs: list[str], limit: int) -> Iterator[pa.RecordBatch]:
    """The first `limit` events of the inputs."""
    events = (record for record in read_events(inputs) if isinstance(record, Event))
    return map(event_batch, in_batches(islice(events, limit)))


def size(batch: pa.RecordBatch) -> int:
    """Bytes of text and fields."""
    return sum(len(value.encode()) for name in ("text", "fields") for value in batch.column(name).to_pylist() if value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="+")
    parser.add_argument("--events", type=int, default=20_000)
    arguments = parser.parse_args()
    held = list(batches(arguments.inputs, arguments.events))
    total, rows = sum(map(size, held)), sum(batch.num_rows for batch in held)
    start = time.perf_counter()
    identifiers = resolve(collect(held))
    collected = time.perf_counter() - start
    anonymizer = Anonymizer(secrets.token_bytes(32), identifiers)
    start, changed = time.perf_counter(), 0
    for batch in held:
        before, after = batch.column("text").to_pylist(), anonymizer.events(batch).column("text").to_pylist()
        changed += sum(one != two for one, two in zip(before, after, strict=True))
    rewritten = time.perf_counter() - start
    print("| events | MB | pass 1 MB/s | pass 2 MB/s | both MB/s | events changed | identifiers |")
    print("|---|---|---|---|---|---|---|")
    both = total / (collected + rewritten) / 1e6
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(identifiers.counts().items()))
    print(
        f"| {rows:,} | {total / 1e6:.1f} | {total / collected / 1e6:.1f} | {total / rewritten / 1e6:.1f} | {both:.1f} "
        f"| {changed / rows:.1%} | {kinds} |"
    )


if __name__ == "__main__":
    main()
