"""Whether the number of a session's events by source tells attack from benign, as it does where an attack takes the
place of other sources' events.

    python benchmarks/simulate_counts.py ONE OTHER

ONE and OTHER are sets of sessions of different seeds, each by `logfm simulate --config simulate/defense --seed SEED
--out FOLDER`. A random forest is fitted on the counts of one by kind of file and judged on the other, both ways round:
the area under the ROC curve, with a 95 % interval over sessions. 0.5 tells nothing.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from logfm.console import emit_json

TREES, LEAF, DRAWS = 500, 3, 2000


def main() -> None:
    """Judge each set by the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs=2)
    options = parser.parse_args()
    one, other = (counts(folder) for folder in options.sets)
    kinds = sorted({kind for found, _ in (one, other) for row in found for kind in row})
    found = {}
    for name, (train, labels), (test, truth) in (("other by one", one, other), ("one by other", other, one)):
        forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=0)
        forest.fit(_table(train, kinds), labels)
        chances = forest.predict_proba(_table(test, kinds))[:, 1]
        found[name] = {"sessions": len(truth), "attacks": int(truth.sum()), **_area(truth, chances)}
    emit_json(found)


def counts(folder: Path) -> tuple[list[Counter[str]], np.ndarray]:
    """Events of each session by kind of file, and whether it has an attack."""
    rows = pq.read_table(folder / "sessions.parquet", columns=["session", "label"]).to_pylist()
    truth = pq.read_table(folder / "truth.parquet", columns=["session", "file"]).to_pydict()
    found: dict[str, Counter[str]] = {row["session"]: Counter() for row in rows}
    for session, file in zip(truth["session"], truth["file"], strict=True):
        found[session][Path(file).name.split("_")[0]] += 1
    return [found[row["session"]] for row in rows], np.array([row["label"] == "attack" for row in rows])


def _table(rows: list[Counter[str]], kinds: list[str]) -> np.ndarray:
    return np.array([[row[kind] for kind in kinds] for row in rows])


def _area(truth: np.ndarray, chances: np.ndarray) -> dict[str, float]:
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(truth), size=len(truth)) for _ in range(DRAWS))
    areas = [roc_auc_score(truth[rows], chances[rows]) for rows in drawn if 0 < truth[rows].sum() < len(rows)]
    low, high = np.quantile(areas, [0.025, 0.975])
    return {name: round(float(value), 3) for name, value in
            (("auc", roc_auc_score(truth, chances)), ("low", low), ("high", high))}  # fmt: skip


if __name__ == "__main__":
    main()
