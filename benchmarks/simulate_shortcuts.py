"""Whether the simulator's attacks are neither given away by shortcuts nor noise.

    python benchmarks/simulate_shortcuts.py --out FOLDER [--data FOLDER] [--seeds 1 2] [--parts PART ...]

Two sets of sessions from different seeds (other company, hosts, users, addresses; tools and paths are drawn anew)
are cut into chunks of 7 consecutive events, as the multi-source paper does. On the first a classifier is fitted, on
the second it is judged:

* `features`: lengths, times and counts only; area under the ROC curve of attack against benign chunks;
* `tfidf`: TF-IDF and a linear SVM, one a technique; macro F1 over techniques, beside the same pipeline on chunks of
  the OTRF captures (`--data`), where a capture's techniques are its chunks' labels and the split is by capture;
* `views`: the same chunks with the events of the system, the network or the browser only;
* `oracle`: what `simulate_oracle.py` finds, which knows the scenarios and joins records of all sources by host, time,
  process, account and address; it is fitted on nothing. Also with the records of one kind of source only, and the
  steps whose chunks it finds with all sources alone.

The figures go to `FOLDER/simulate_shortcuts.json`.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from simulate_oracle import identify
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from logfm.configs.schema.simulate import SessionsConfig
from logfm.console import emit_json
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate import load_scenarios, simulate_sessions

CHUNK = 7
LEAST = 15
WORDS = r"[A-Za-z_][A-Za-z0-9_]+|\b\d{1,4}\b"
"""What TF-IDF counts: words and small numbers; ports of clients and serial numbers are noise."""
PARTS = ("features", "tfidf", "oracle", "statistics")
VIEWS = {
    "all three": ("windows", "linux", "network", "dns", "web", "mail", "cloud", "browser"),
    "system": ("windows", "linux"),
    "network": ("network", "dns", "web", "mail", "cloud"),
    "browser": ("browser",),
}
"""What belongs to the paper's three kinds of source: records of hosts, records of servers on the way, the browser."""


@dataclass(frozen=True)
class Line:
    """An event: its time (s since 1970), folder of source, text and techniques."""

    time: float
    source: str
    text: str
    techniques: frozenset[str]
    host: str = ""
    step: str = ""


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a session, all events of the session, and the place of the first."""

    lines: tuple[Line, ...]
    session: tuple[Line, ...]
    start: int = 0

    @property
    def techniques(self) -> frozenset[str]:
        """The techniques of its events."""
        return frozenset().union(*(line.techniques for line in self.lines))


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sessions", type=int, default=80)
    parser.add_argument("--attack", type=int, default=60)
    parser.add_argument("--events", type=int, default=2640)
    parser.add_argument("--benign", type=float, default=2.0, help="benign chunks for each attack chunk")
    parser.add_argument("--seeds", type=int, nargs=2, default=(1, 2), help="seeds to fit and to judge on")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train, test = (_chunks(options, seed) for seed in options.seeds)
    path = options.out / "simulate_shortcuts.json"
    for part in options.parts:
        found = _PARTS[part](options, train, test)
        # Parts may be measured one after the other.
        figures = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(figures | found, indent=2))
        emit_json({name: one["macro_f1"] if _scored(one) else one for name, one in found.items()})


def _shortcuts(options: argparse.Namespace, train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, Any]:
    return {
        "seeds": list(options.seeds),
        "chunks": [len(train), len(test)],
        "attack chunks": [sum(bool(one.techniques) for one in chunks) for chunks in (train, test)],
        "features": features_auc(train, test),
    }


def _views(_: argparse.Namespace, train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, Any]:
    labels = _labels(train, test)
    return {
        view: techniques_f1(*([_view(one, sources) for one in chunks] for chunks in (train, test)), *labels)
        for view, sources in VIEWS.items()
    }


def _oracle(_: argparse.Namespace, train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, Any]:
    return oracle_f1(train, test)


def _statistics(options: argparse.Namespace, _: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, Any]:
    figures: dict[str, Any] = {"statistics": {"simulated": statistics(line for one in test for line in one.lines)}}
    if options.data:
        figures["otrf"], figures["statistics"]["otrf"] = real(options.data)
        for name in ("Linux", "Hadoop"):
            path = options.data / "loghub_2k" / name
            lines = [line for file in path.rglob("*.log") for line in file.read_text(errors="replace").splitlines()]
            figures["statistics"][f"loghub {name}"] = text_statistics(lines)
    return figures


_PARTS = {"features": _shortcuts, "tfidf": _views, "oracle": _oracle, "statistics": _statistics}


def _scored(value: object) -> bool:
    return isinstance(value, dict) and "macro_f1" in value


def _chunks(options: argparse.Namespace, seed: int) -> list[Chunk]:
    """Chunks of a set: all with an attack, and a sample of the others."""
    config = SessionsConfig(seed=seed, sessions=options.sessions, attacks=options.attack, events=options.events)
    out = options.out / f"seed{seed}"
    simulate_sessions(config, out)
    truth = {row["event_id"]: row for row in pq.read_table(out / "truth.parquet").to_pylist()}
    sessions: dict[str, list[Line]] = defaultdict(list)
    for event in read_events([out / "logs"]):
        if isinstance(event, Event) and event.timestamp is not None:
            row = truth[event.event_id]
            source = row["file"].split("/")[0]
            found = Line(event.timestamp.timestamp(), source, event.text, frozenset(row["techniques"]),
                         event.host or "", f"{row['scenario']}.{row['step']}" if row["step"] else "")  # fmt: skip
            sessions[row["session"]].append(found)
    attacks, others = [], []
    for name in sorted(sessions):
        lines = tuple(sorted(sessions[name], key=lambda line: line.time))
        for start in range(0, len(lines) - CHUNK + 1, CHUNK):
            chunk = Chunk(lines[start : start + CHUNK], lines, start)
            (attacks if chunk.techniques else others).append(chunk)
    random.Random(seed).shuffle(others)
    return attacks + others[: int(options.benign * len(attacks))]


def features_auc(train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, float]:
    """Area under the ROC curve of attack against benign, from lengths, times and counts; of single features too."""
    names = ("characters", "longest", "shortest", "spread", "seconds", "longest gap", "hour", "events within 10 s")
    tables = [np.array([_features(one) for one in chunks]) for chunks in (train, test)]
    labels = [[bool(one.techniques) for one in chunks] for chunks in (train, test)]
    model = HistGradientBoostingClassifier(random_state=0).fit(tables[0], labels[0])
    found = {"all": roc_auc_score(labels[1], model.predict_proba(tables[1])[:, 1])}
    for name, columns in {"without the hour": (0, 1, 2, 3, 4, 5, 7), "lengths": (0, 1, 2, 3), "times": (4, 5)}.items():
        few = [table[:, columns] for table in tables]
        model = HistGradientBoostingClassifier(random_state=0).fit(few[0], labels[0])
        found[name] = roc_auc_score(labels[1], model.predict_proba(few[1])[:, 1])
    for column, name in enumerate(names):
        score = roc_auc_score(labels[1], tables[1][:, column])
        found[name] = max(score, 1 - score)
    return {name: round(float(value), 3) for name, value in found.items()}


def _features(chunk: Chunk) -> list[float]:
    lengths = [len(line.text) for line in chunk.lines]
    times = [line.time for line in chunk.lines]
    gaps = np.diff(times)
    every = np.array([line.time for line in chunk.session])
    near = np.searchsorted(every, times[-1] + 10) - np.searchsorted(every, times[0] - 10)
    return [sum(lengths), max(lengths), min(lengths), float(np.std(lengths)), times[-1] - times[0],
            float(max(gaps)), times[0] % 86400 // 3600, float(near)]  # fmt: skip


def _labels(train: Sequence[Chunk], test: Sequence[Chunk]) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    return [parents(one.techniques) for one in train], [parents(one.techniques) for one in test]


def parents(techniques: Iterable[str]) -> frozenset[str]:
    """Techniques without their sub-techniques: single captures of those are too few."""
    return frozenset(name.split(".")[0] for name in techniques)


def _view(chunk: Chunk, sources: Sequence[str]) -> str:
    return "\n".join(line.text for line in chunk.lines if line.source in sources)


def oracle_f1(train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, Any]:
    """Macro F1 of the oracle with all sources, and with those of each view; steps that are found across sources only.

    A step is found in a session if half of its events that a view has are given to it, and half of those given to it
    are its; it is found across sources only if all of them find it in half of its sessions or more, and no view does.
    """
    labels = _labels(train, test)
    classes = _classes(*labels)
    wanted = _table(labels[1], classes)
    sessions = {id(one.session): one.session for one in test}
    found: dict[str, Any] = {}
    shares: dict[str, dict[str, float]] = {}
    for view, sources in VIEWS.items():
        steps = {key: _steps(session, sources) for key, session in sessions.items()}
        scores = f1_score(wanted, _table([_guess(one, steps[id(one.session)]) for one in test], classes), average=None,
                          zero_division=0)  # fmt: skip
        shares[view] = _found(sessions, steps, sources)
        found["oracle" if view == "all three" else f"oracle, {view}"] = {
            "macro_f1": round(float(np.mean(scores)), 3),
            "steps found": round(float(np.mean(list(shares[view].values()))), 3),
            "techniques": {name: round(float(score), 3) for name, score in zip(classes, scores, strict=True)},
        }
    alone = {step: max(shares[view][step] for view in VIEWS if view != "all three") for step in shares["all three"]}
    across = sorted(step for step, share in shares["all three"].items() if share >= 0.5 > alone[step])
    return found | {"steps": len(alone), "steps across sources only": across}


def _steps(session: Sequence[Line], sources: Sequence[str]) -> dict[int, tuple[str, frozenset[str]]]:
    lines = [(number, one.time, one.source, one.host, one.text) for number, one in enumerate(session)
             if one.source in sources]  # fmt: skip
    found = identify(lines, sources, load_scenarios(None, wide=True))
    return {number: (f"{name}.{step.name}", parents(step.technique)) for number, (step, name) in found.items()}


def _guess(chunk: Chunk, steps: dict[int, tuple[str, frozenset[str]]]) -> frozenset[str]:
    return frozenset().union(
        *(steps[number][1] for number in range(chunk.start, chunk.start + CHUNK) if number in steps)
    )


def _found(
    sessions: dict[int, tuple[Line, ...]],
    steps: dict[int, dict[int, tuple[str, frozenset[str]]]],
    sources: Sequence[str],
) -> dict[str, float]:
    """The part of each step's sessions in which the step is found, by the records of some sources."""
    counts: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for key, session in sessions.items():
        given, there, both = Counter(name for name, _ in steps[key].values()), Counter[str](), Counter[str]()
        for number, line in enumerate(session):
            if line.step and line.source in sources:
                there[line.step] += 1
                both[line.step] += steps[key].get(number, ("",))[0] == line.step
        counts.update({line.step for line in session if line.step})
        right.update(step for step in there if both[step] >= 0.5 * there[step] and both[step] >= 0.5 * given[step])
    return {step: right[step] / count for step, count in counts.items()}


def _classes(train: Sequence[frozenset[str]], test: Sequence[frozenset[str]], least: int = LEAST) -> list[str]:
    """The techniques that enough chunks of both sets have."""
    counts = [Counter(name for names in labels for name in names) for labels in (train, test)]
    return sorted(name for name in counts[0] if min(one[name] for one in counts) >= least)


def _table(labels: Sequence[frozenset[str]], classes: Sequence[str]) -> np.ndarray:
    return np.array([[name in names for name in classes] for names in labels], dtype=int)


def techniques_f1(
    train: Sequence[str], test: Sequence[str], train_labels: Sequence[frozenset[str]],
    test_labels: Sequence[frozenset[str]], least: int = LEAST,
) -> dict[str, Any]:  # fmt: skip
    """Macro F1 over the techniques that enough chunks of both sets have, with TF-IDF and a linear SVM for each."""
    classes = _classes(train_labels, test_labels, least)
    vectors = TfidfVectorizer(token_pattern=WORDS, min_df=3, max_features=40_000, sublinear_tf=True)
    wanted = [_table(labels, classes) for labels in (train_labels, test_labels)]
    rows = vectors.fit_transform(train)
    model = OneVsRestClassifier(LinearSVC(class_weight="balanced", tol=0.01)).fit(rows, wanted[0])
    found = model.predict(vectors.transform(test))
    scores = f1_score(wanted[1], found, average=None, zero_division=0)
    words = vectors.get_feature_names_out()
    strongest = {name: [str(words[at]) for at in np.argsort(-one.coef_[0])[:6]]
                 for name, one in zip(classes, model.estimators_, strict=True)}  # fmt: skip
    return {
        "macro_f1": round(float(np.mean(scores)), 3),
        "techniques": {name: round(float(score), 3) for name, score in zip(classes, scores, strict=True)},
        "strongest": strongest,
    }


def real(data: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same pipeline on the OTRF captures of Windows hosts, and their statistics."""
    import csv

    folder = data / "otrf_security_datasets"
    with (folder / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["techniques"] and row["archive"].startswith("windows/")]
    texts: list[list[str]] = [[], []]
    labels: list[list[frozenset[str]]] = [[], []]
    lines: list[Line] = []
    order: Counter[str] = Counter()
    for row in rows:
        names = parents(row["techniques"].split(";"))
        side = int(order[min(names)] % 3 == 1)
        order[min(names)] += 1
        events = [one for one in islice(read_events([folder / row["archive"]]), 2000) if isinstance(one, Event)]
        lines += [Line(0.0, "windows", one.text, frozenset()) for one in events[:200]]
        for start in range(0, len(events) - CHUNK + 1, CHUNK):
            texts[side].append("\n".join(one.text for one in events[start : start + CHUNK]))
            labels[side].append(names)
    return techniques_f1(texts[0], texts[1], labels[0], labels[1]), statistics(lines)


def statistics(lines: Iterable[Line]) -> dict[str, Any]:
    """Statistics of the Windows events among lines: types, fields, lengths, duplicates."""
    texts = [line.text for line in lines if line.source == "windows"]
    records = [json.loads(text) for text in texts if text.startswith("{")]
    types = Counter(str(one.get("EventID")) for one in records)
    return text_statistics(texts) | {
        "types": len(types),
        "most frequent": dict(types.most_common(6)),
        "fields": round(float(np.median([len(one) for one in records])), 1),
    }


def text_statistics(texts: Sequence[str]) -> dict[str, Any]:
    """Lengths of lines (characters) and the share of lines that repeat another one, digits left out."""
    lengths = [len(text) for text in texts]
    masked = {"".join("0" if char.isdigit() else char for char in text) for text in texts}
    quarters = [int(value) for value in np.quantile(lengths, (0.1, 0.5, 0.9))]
    return {"lines": len(texts), "length": quarters, "duplicates": round(1 - len(masked) / len(texts), 3)}


if __name__ == "__main__":
    main()
