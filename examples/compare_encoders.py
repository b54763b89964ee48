"""For an evaluator: several encoders beside TF-IDF and random vectors, on the same lines.

Usage: python examples/compare_encoders.py LOGS ENCODER [ENCODER...]
"""

import argparse

from logfm.corpus import stream
from logfm.embeddings import LogEncoder
from logfm.evaluation import compare, strip_label, template_labels


def main() -> None:
    """The encoders see raw lines; templates (Drain on the message behind the header) only say what is relevant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs")
    parser.add_argument("encoders", nargs="+")
    arguments = parser.parse_args()

    texts = [strip_label(text) for batch in stream([arguments.logs], ["text"]) for text in batch["text"].to_pylist()]
    encoders = {uri: LogEncoder.load(uri).encode for uri in arguments.encoders}
    found = compare(texts, template_labels(texts), encoders)
    print(f"{found.lines} lines, {found.templates} templates, {found.queries} queries")
    for score in found.scores:
        figures = "  ".join(f"{name} {score.metrics[name].value:.3f}" for name in ("map", "mrr", "pair_auc"))
        print(f"{score.name:24} {figures}")
    for verdict in found.verdicts:
        print(f"{verdict.metric:10} {verdict.encoder} against {verdict.rival}: {verdict.winner or 'a tie'}")


if __name__ == "__main__":
    main()
