"""The draw that a tokenizer learns from: equal bytes a source, random, seeded, streamed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logfm.corpus.store import Corpus

PART = 1 << 16
"""Characters handed to the trainer at once: a gigantic line costs it no more memory than a small one."""


@dataclass
class Sample:
    """A draw in progress: iterate it once; `drawn` then holds the UTF-8 bytes taken from each source."""

    corpus: Corpus
    view: str | None
    rates: dict[str, float]
    """Expected copies of each event of a source."""
    seed: int
    drawn: Counter[str] = field(default_factory=Counter)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The drawn events in the corpus's order: columns text, source."""
        generator = np.random.default_rng(self.seed)
        for batch in self.corpus.batches(["text", "source"], view=self.view):
            chance = generator.random(batch.num_rows)
            rates = np.array([self.rates[name] for name in batch["source"].to_pylist()])
            # A rate of 2.3 takes an event twice, and a third time with a chance of 0.3.
            copies = (rates + chance).astype(np.int64)
            taken = batch.take(pa.array(np.repeat(np.arange(batch.num_rows), copies)))
            self.drawn.update(_bytes_by_source(taken))
            yield taken

    def parts(self) -> Iterator[str]:
        """The drawn texts, in parts of at most `PART` characters."""
        for batch in self.batches():
            for text in batch["text"].to_pylist():
                for start in range(0, len(text), PART):
                    yield text[start : start + PART]


def draw(corpus: Corpus, budget: int, seed: int, max_repeats: int = 1) -> Sample:
    """Plan a draw of about `budget` UTF-8 bytes, as equal among the sources as they allow.

    A source is drawn up to `max_repeats` times over to match the others, never to more than the largest one's
    size.

    Every event of a source has the same chance, so the bytes taken vary around the plan by about one event's
    share. Reads the corpus once, for the sizes; duplicates, and near-duplicates, are left out where the corpus has
    the view for it.
    """
    view = next((name for name in ("near", "exact") if (corpus.path / "views" / f"{name}.parquet").exists()), None)
    sizes: Counter[str] = Counter()
    for batch in corpus.batches(["text", "source"], view=view):
        sizes.update(_bytes_by_source(batch))
    largest = max(sizes.values(), default=0)
    quotas = equal_shares({name: min(max_repeats * size, largest) for name, size in sizes.items()}, budget)
    rates = {name: quotas[name] / size if size else 0.0 for name, size in sizes.items()}
    return Sample(corpus, view, rates, seed)


def equal_shares(sizes: Mapping[str, int], budget: int) -> dict[str, int]:
    """Share a budget equally; what has less than its share gives all, and the rest is shared again."""
    shares: dict[str, int] = {}
    for position, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: (item[1], item[0]))):
        shares[name] = min(size, (budget - sum(shares.values())) // (len(sizes) - position))
    return shares


def _bytes_by_source(batch: pa.RecordBatch) -> dict[str, int]:
    table = pa.table({"source": batch["source"], "bytes": pc.binary_length(batch["text"])})
    sums = table.group_by("source").aggregate([("bytes", "sum")])
    return dict(zip(sums["source"].to_pylist(), sums["bytes_sum"].to_pylist(), strict=True))
