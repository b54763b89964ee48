"""Near-deduplication beside datatrove's MinHash pipeline, on the same events, in one run.

    pip install datatrove spacy nltk scipy
    python benchmarks/corpus_dedup.py DATA --megabytes 200

DATA holds JSON lines of any schema, plain, zipped or in tar.gz (otrf_security_datasets/windows). Both read the same two
files with two processes, at Jaccard 0.8 over 5-grams of words; logfm parses the events, deduplicates exactly and
writes Parquet as well. Then both kept sets are judged by the same exact Jaccard similarity, on a sample of events
against all others: pairs at or above the threshold of which both were kept, and events removed though nothing kept
is near them.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from logfm.configs.schema.corpus import CorpusConfig, NearConfig
from logfm.corpus import Corpus, build, stream
from logfm.corpus.dedup.shingles import shingle_sets
from logfm.corpus.words import words_of

SHINGLE, THRESHOLD = 5, 0.8


def main() -> None:
    """Run both, print speeds and qualities."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--sample", type=int, default=1000, help="events compared with all others")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dedup-"))
    try:
        texts = write_inputs(options.data, folder, options.megabytes * 1e6)
        size = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{len(texts)} different events, {size:.0f} MB")
        judged = judge(texts, options.sample, options.seed)
        times = {}
        for name, run in (("logfm", run_logfm), ("datatrove", run_datatrove)):
            start = time.monotonic()
            kept = run(folder)
            times[name] = time.monotonic() - start
            print(f"{name}: {times[name]:.1f} s, {size / times[name]:.2f} MB/s, kept {kept.sum()}; {judged(kept)}")
        print(f"logfm is {times['datatrove'] / times['logfm']:.1f} times as fast")
    finally:
        shutil.rmtree(folder)


def write_inputs(data: Path, folder: Path, most: float) -> list[str]:
    """The first different JSON events up to `most` bytes, as two files of raw lines and two of documents."""
    texts = list(_different(data, most))
    for name in ("raw", "documents"):
        (folder / name).mkdir()
    middle = len(texts) // 2
    for part, (low, high) in enumerate(((0, middle), (middle, len(texts)))):
        (folder / f"raw/{part}.json").write_text("".join(f"{text}\n" for text in texts[low:high]))
        with (folder / f"documents/{part}.jsonl").open("w") as stream_:
            for number in range(low, high):
                stream_.write(json.dumps({"text": texts[number], "id": str(number)}) + "\n")
    return texts


def _different(data: Path, most: float) -> Iterator[str]:
    seen: set[str] = set()
    size = 0
    for batch in stream([data], ["text"]):
        for text in batch.column(0).to_pylist():
            if text not in seen and text.startswith("{") and "\n" not in text:
                seen.add(text)
                yield text
                size += len(text.encode())
                if size >= most:
                    return


def run_logfm(folder: Path) -> np.ndarray:
    """Which events logfm keeps, bool (events,)."""
    near = NearConfig(threshold=THRESHOLD, shingle=SHINGLE)
    build([folder / "raw"], folder / "corpus", CorpusConfig(dedup=("exact", "near"), near=near), workers=2)
    corpus = Corpus.open(folder / "corpus")
    kept = np.zeros(corpus.rows, dtype=bool)
    kept[corpus.kept_rows("near")] = True
    return kept


def run_datatrove(folder: Path) -> np.ndarray:
    """Which events datatrove keeps, bool (events,)."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig

    plain = TextNormConfig(lowercase=False, norm_whitespace=True, remove_punctuation=True,
                           norm_unicode_diacritics=False, norm_numbers=False)  # fmt: skip
    # Its default, xxhash, fails with the xxhash package of today; SHA-1 costs it a few percent.
    hashing = HashConfig(hash_fc="sha1")
    config = MinhashConfig(n_grams=SHINGLE, num_buckets=14, hashes_per_bucket=8, norm_config=plain, hash_config=hashing)
    work = folder / "datatrove"
    documents = JsonlReader(str(folder / "documents"))
    stages = [
        ([documents, MinhashDedupSignature(str(work / "signatures"), config)], 2),
        ([MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)], 14),
        ([MinhashDedupCluster(str(work / "buckets"), str(work / "clusters"), config=config)], 1),
        ([documents, MinhashDedupFilter(str(work / "clusters")),
          JsonlWriter(str(work / "kept"), output_filename="${rank}.jsonl", compression=None)], 2),
    ]  # fmt: skip
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=str(work / f"logs{number}")).run()
    total = sum(1 for path in (folder / "documents").iterdir() for _ in path.open())
    kept = np.zeros(total, dtype=bool)
    for path in (work / "kept").iterdir():
        for line in path.open():
            kept[int(json.loads(line)["id"])] = True
    return kept


def judge(texts: list[str], sample: int, seed: int):  # noqa: ANN201 (a function of the kept rows)
    """A function that says how good a kept set is; the similarities are computed once."""
    columns: list[np.ndarray] = []
    sizes = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), 200):
        hashes, begins = shingle_sets(words_of(pa.array(texts[start : start + 200])), SHINGLE)
        columns.append(hashes)
        sizes[start : start + 200] = np.diff(begins)
    _, places = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    sets = sparse.csr_matrix((np.ones(len(places), np.float32), places, ends))
    chosen = np.sort(np.random.default_rng(seed).choice(len(texts), min(sample, len(texts)), replace=False))
    left, right = [], []
    for start in range(0, len(chosen), 50):
        rows = chosen[start : start + 50]
        shared = (sets[rows] @ sets.T).tocoo()
        union = sizes[rows[shared.row]] + sizes[shared.col] - shared.data
        near = (shared.data >= THRESHOLD * union) & (rows[shared.row] != shared.col)
        left.append(rows[shared.row[near]])
        right.append(shared.col[near])
    pairs = np.concatenate(left), np.concatenate(right)

    def judged(kept: np.ndarray) -> str:
        both = kept[pairs[0]] & kept[pairs[1]]
        near_kept = np.zeros(len(texts), dtype=bool)
        near_kept[pairs[0][kept[pairs[1]]]] = True
        removed = chosen[~kept[chosen]]
        wrong = int((~near_kept[removed]).sum())
        return (
            f"of {len(pairs[0])} pairs near each other {1 - both.mean():.4f} are resolved; of {len(removed)} sampled "
            f"events that were removed {wrong} have nothing near them among the kept "
            f"({wrong / max(1, len(removed)):.3%})"
        )

    return judged


if __name__ == "__main__":
    main()
