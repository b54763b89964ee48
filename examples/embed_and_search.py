"""For a downstream team: vectors and search with any encoder; nothing is trained.

Usage: python examples/embed_and_search.py ENCODER LOGS "query" --index out/index
ENCODER is a folder made by logfm, st:NAME, hf:NAME, tfidf, py:MODULE:OBJECT or http://HOST/v1/embeddings#MODEL.
"""

import argparse
from pathlib import Path

from logfm.embeddings import Index, LogEncoder
from logfm.embeddings.index import build


def main() -> None:
    """Every hit leads back to its file and byte."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("logs")
    parser.add_argument("query")
    parser.add_argument("--index", type=Path, required=True)
    arguments = parser.parse_args()

    encoder = LogEncoder.load(arguments.encoder)
    build([arguments.logs], encoder, arguments.index)
    vectors = Index.open(arguments.index).encoder.encode([arguments.query])
    print(f"{encoder.name}: float32 vectors of {vectors.shape[1]} dimensions")
    for hit in Index.open(arguments.index).search(arguments.query, k=5, mode="vector"):
        print(f"{hit.score:.3f}  {hit.file}:{hit.offset}  {hit.text[:120]!r}")


if __name__ == "__main__":
    main()
