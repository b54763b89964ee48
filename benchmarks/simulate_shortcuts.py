"""Whether the simulator's attacks are neither given away by shortcuts nor noise.

    python benchmarks/simulate_shortcuts.py --out FOLDER [--data FOLDER] [--train-seeds 1 2 3] [--test-seed 4]
        [--parts PART ...]

Sets of sessions from different seeds (other company, hosts, users, addresses; tools and paths are drawn anew) are cut
into chunks of 7 consecutive events, as the multi-source paper does. On all but one a classifier is fitted, on the last
it is judged:

* `features`: lengths, times and counts only; area under the ROC curve of attack against benign chunks, from all
  features, without the hour, and from lengths, each with its interval over sessions; the largest of the three is what
  counts. One seed's sessions say little, so each seed is also judged once by a classifier fitted on the others. A chunk
  is an attack's if any of its events is, so chunks in which many things happen are so more often, and no attack has to
  differ for that. The placebo says how much this gives: the same sessions without an attack, with as many events of
  benign activities, drawn at random, marked in its place;
* `tfidf`: TF-IDF and a linear SVM, one a technique; macro F1 over techniques with its interval over sessions, the
  strongest features, and the learning curve; also with the events of the system, the network or the browser only, cut
  into chunks of their own: techniques that these do not show count as 0;
* `oracle`: what `simulate_oracle.py` finds, which knows the scenarios and joins records of all sources by host, time,
  process, account and address; it is fitted on nothing. Also with the records of one kind of source only, and the
  steps whose chunks it finds with all sources alone;
* `statistics`: the pipeline of `tfidf` on chunks of the OTRF captures (`--data`), where a capture's techniques are its
  chunks' labels and the split is by capture; statistics of lines beside those of OTRF and Loghub.

The figures go to `FOLDER/simulate_shortcuts.json`, tables of them to `simulate_shortcuts.md` and to the terminal.
"""

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from simulate_oracle import identify
from simulate_report import markdown
from simulate_texts import (
    CHUNK,
    DRAWS,
    classes_of,
    otrf,
    parents,
    table,
    techniques_f1,
    text_statistics,
    windows_statistics,
)
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate import load_scenarios, simulate_sessions
from logfm.corpus.simulate.drift import rewrites, world_at
from logfm.corpus.simulate.planning import plan
from logfm.corpus.simulate.records import Record, Truth
from logfm.corpus.simulate.session import play_session
from logfm.corpus.simulate.session_files import write_session
from logfm.corpus.simulate.world import make_world

PARTS = ("features", "tfidf", "oracle", "statistics")
SUBSETS = {"all": range(8), "without the hour": (0, 1, 2, 3, 4, 5, 7), "lengths": (0, 1, 2, 3)}
"""Columns of the features by what they leave out."""
STEPS = (0.25, 0.5, 0.75, 1.0)
"""Parts of the training sessions of the learning curve."""
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


Session = tuple[Line, ...]


@dataclass(frozen=True)
class Chunk:
    """Consecutive events of a session: the session's seed and number, and the place of the first."""

    session: tuple[int, int]
    start: int
    text: str
    techniques: frozenset[str]
    features: tuple[float, ...]


@dataclass(frozen=True)
class Set:
    """The sessions of a seed, where they are still needed, and their chunks by view."""

    chunks: dict[str, list[Chunk]]
    sessions: list[Session] = field(default_factory=list)
    placebo: list[Chunk] = field(default_factory=list)


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sessions", type=int, default=80, help="sessions of each seed")
    parser.add_argument("--attack", type=int, default=60, help="sessions with an attack of each seed")
    parser.add_argument("--events", type=int, default=2640)
    parser.add_argument("--benign", type=float, default=2.0, help="benign chunks for each attack chunk")
    parser.add_argument("--train-seeds", type=int, nargs="+", default=(1, 2, 3), help="seeds to fit on")
    parser.add_argument("--test-seed", type=int, default=4, help="the seed to judge on")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    if options.test_seed in options.train_seeds:
        parser.error("the seed to judge on is one to fit on")
    options.out.mkdir(parents=True, exist_ok=True)
    train = [_made(options, seed, keep=False) for seed in options.train_seeds]
    test = _made(options, options.test_seed, keep=True)
    path = options.out / "simulate_shortcuts.json"
    for part in options.parts:
        found = _PARTS[part](options, train, test)
        # Parts may be measured one after the other.
        figures = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(figures | found, indent=2))
    text = markdown(json.loads(path.read_text()))
    path.with_suffix(".md").write_text(text)
    print(text)


def _made(options: argparse.Namespace, seed: int, *, keep: bool) -> Set:
    config = SessionsConfig(seed=seed, sessions=options.sessions, attacks=options.attack, events=options.events)
    out = options.out / f"seed{seed}"
    simulate_sessions(config, out)
    sessions = read_sessions(out)
    chunks = {view: cut(sessions, sources, options.benign, seed) for view, sources in VIEWS.items()}
    control: list[Chunk] = []
    if "features" in options.parts:
        control = cut(
            placebo(config, options.out / f"placebo{seed}", sessions), VIEWS["all three"], options.benign, seed
        )
    return Set(chunks, sessions if keep else [], control)


def read_sessions(out: Path) -> list[Session]:
    """The sessions of a folder that `simulate_sessions` has made, their events in order of time."""
    return _lines(out / "logs", {row["event_id"]: row for row in pq.read_table(out / "truth.parquet").to_pylist()})


def placebo(config: SessionsConfig, out: Path, sessions: Sequence[Session]) -> list[Session]:
    """The same sessions with no attack at all, and as many events of random activities marked as `sessions` has."""
    scenarios = load_scenarios(None, wide=True)
    like = {one.name: one for one in scenarios}
    company = make_world(config.seed, config.hosts)
    truth: dict[str, dict[str, Any]] = {}
    for session, made in zip(plan(config, company, scenarios), sessions, strict=True):
        world = world_at(company, config.drift, session.share, session.user)
        records = play_session(world, config, replace(session, scenario=None), like[session.like])
        records = marked(records, sum(bool(line.techniques) for line in made), random.Random(session.number))
        changed = rewrites(config.drift, session.share, session.host)
        for name, file, _, told in write_session(records, session, config.seed, out / "logs", changed):
            truth[name] = {"file": file, "session": session.name, "techniques": told.techniques, "step": None}
    return _lines(out / "logs", truth)


def marked(records: Sequence[Record], count: int, rng: random.Random) -> list[Record]:
    """Records of which those of some activities are said to be an attack's, until there are `count`."""
    # Records of one activity share their truth.
    sizes = Counter(id(one.truth) for one in records)
    activities = list(sizes)
    rng.shuffle(activities)
    chosen: set[int] = set()
    for activity in activities:
        if count <= 0:
            break
        chosen.add(activity)
        count -= sizes[activity]
    return [replace(one, truth=Truth("attack", ("T0",))) if id(one.truth) in chosen else one for one in records]


def _lines(logs: Path, truth: Mapping[str, Mapping[str, Any]]) -> list[Session]:
    sessions: dict[str, list[Line]] = defaultdict(list)
    for event in read_events([logs]):
        if isinstance(event, Event) and event.timestamp is not None:
            row = truth[event.event_id]
            source = row["file"].split("/")[0]
            found = Line(event.timestamp.timestamp(), source, event.text, frozenset(row["techniques"]),
                         event.host or "", f"{row['scenario']}.{row['step']}" if row["step"] else "")  # fmt: skip
            sessions[row["session"]].append(found)
    return [tuple(sorted(sessions[name], key=lambda line: line.time)) for name in sorted(sessions)]


def cut(sessions: Sequence[Session], sources: Sequence[str], benign: float, seed: int) -> list[Chunk]:
    """Chunks of the events of some sources: all with an attack, and `benign` others for each of them (a sample).

    What other sources show between two events does not part them, nor does it label them.
    """
    attacks: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    views = [tuple(line for line in lines if line.source in sources) for lines in sessions]
    for number, lines in enumerate(views):
        for start in range(0, len(lines) - CHUNK + 1, CHUNK):
            attack = any(line.techniques for line in lines[start : start + CHUNK])
            (attacks if attack else others).append((number, start))
    random.Random(seed).shuffle(others)
    return [_chunk(views[number], (seed, number), start) for number, start in
            attacks + others[: int(benign * len(attacks))]]  # fmt: skip


def _chunk(session: Session, name: tuple[int, int], start: int) -> Chunk:
    lines = session[start : start + CHUNK]
    techniques = parents(name for line in lines for name in line.techniques)
    return Chunk(name, start, "\n".join(line.text for line in lines), techniques, _features(lines, session))


def _joined(train: Sequence[Set], view: str = "all three") -> list[Chunk]:
    return [chunk for one in train for chunk in one.chunks[view]]


def _labelled(chunks: Sequence[Chunk]) -> tuple[list[str], list[frozenset[str]]]:
    return [one.text for one in chunks], [one.techniques for one in chunks]


def _shortcuts(options: argparse.Namespace, train: Sequence[Set], test: Set) -> dict[str, Any]:
    sides = _joined(train), test.chunks["all three"]
    seeds = [one.chunks["all three"] for one in (*train, test)]
    control = [chunk for one in train for chunk in one.placebo], test.placebo
    return {
        "seeds": [list(options.train_seeds), options.test_seed],
        "attack sessions": [len({one.session for one in chunks if one.techniques}) for chunks in sides],
        "chunks": [len(chunks) for chunks in sides],
        "attack chunks": [sum(bool(one.techniques) for one in chunks) for chunks in sides],
        "features": features_auc(*sides),
        "placebo": features_auc(*control),
        "each seed by the others": in_turn(seeds),
    }


def _views(_: argparse.Namespace, train: Sequence[Set], test: Set) -> dict[str, Any]:
    found: dict[str, Any] = {}
    classes = classes_of(_labelled(_joined(train))[1], _labelled(test.chunks["all three"])[1])
    for view in VIEWS:
        judged = test.chunks[view]
        groups = [one.session for one in judged]
        found[view] = techniques_f1(_labelled(_joined(train, view)), _labelled(judged), groups, classes)
    return found | {"learning curve": learning_curve(_joined(train), test.chunks["all three"], classes)}


def learning_curve(train: Sequence[Chunk], test: Sequence[Chunk], classes: Sequence[str]) -> list[list[float]]:
    """Sessions with an attack to fit on, and macro F1 over the same techniques."""
    seeds = list(dict.fromkeys(one.session[0] for one in train))
    sessions = sorted({one.session for one in train}, key=lambda name: (seeds.index(name[0]), name[1]))
    found: list[list[float]] = []
    for step in STEPS:
        kept = set(sessions[: round(step * len(sessions))])
        few = [one for one in train if one.session in kept]
        scores = techniques_f1(_labelled(few), _labelled(test), [one.session for one in test], classes)
        found.append([len({one.session for one in few if one.techniques}), scores["macro_f1"]])
    return found


def _oracle(_: argparse.Namespace, train: Sequence[Set], test: Set) -> dict[str, Any]:
    return oracle_f1(_joined(train), test.chunks["all three"], test.sessions)


def _statistics(options: argparse.Namespace, _: Sequence[Set], test: Set) -> dict[str, Any]:
    lines = [line for session in test.sessions for line in session]
    windows = [line.text for line in lines if line.source == "windows"]
    linux = [line.text for line in lines if line.source == "linux" and not line.text.startswith("node=")]
    tables = {"Windows, simulated": windows_statistics(windows), "Linux, simulated": text_statistics(linux)}
    figures: dict[str, Any] = {"statistics": tables}
    if options.data:
        figures["otrf"], events = otrf(options.data)
        tables["Windows, OTRF"] = windows_statistics(events)
        for name in ("Linux", "Hadoop"):
            path = options.data / "loghub_2k" / name
            real = [line for file in path.rglob("*.log") for line in file.read_text(errors="replace").splitlines()]
            tables[f"{name}, Loghub"] = text_statistics(real)
    return figures


_PARTS = {"features": _shortcuts, "tfidf": _views, "oracle": _oracle, "statistics": _statistics}


def features_auc(train: Sequence[Chunk], test: Sequence[Chunk]) -> dict[str, list[float]]:
    """Area under the ROC curve of attack against benign, from lengths, times and counts: of the subsets, the largest
    of these, and of single features. Each with the ends of its 95 % interval over sessions."""
    names = ("characters", "longest", "shortest", "spread", "seconds", "longest gap", "hour", "events within 10 s")
    groups = [one.session for one in test]
    found = {name: auc_interval(*_fitted(train, test, columns), groups) for name, columns in SUBSETS.items()}
    found["largest"] = max(found.values())
    table, labels = np.array([one.features for one in test]), np.array([bool(one.techniques) for one in test])
    for column, name in enumerate(names):
        way = 1 if roc_auc_score(labels, table[:, column]) >= 0.5 else -1
        found[name] = auc_interval(labels, way * table[:, column], groups)
    return {name: [round(value, 3) for value in values] for name, values in found.items()}


def in_turn(seeds: Sequence[Sequence[Chunk]]) -> dict[str, list[float]]:
    """The areas of `features_auc` by subset, for each seed, judged by a classifier fitted on the others."""
    found: dict[str, list[float]] = {name: [] for name in SUBSETS}
    for number, judged in enumerate(seeds):
        others = [chunk for one in (*seeds[:number], *seeds[number + 1 :]) for chunk in one]
        for name, columns in SUBSETS.items():
            found[name].append(round(float(roc_auc_score(*_fitted(others, judged, columns))), 3))
    return found


def _fitted(train: Sequence[Chunk], test: Sequence[Chunk], columns: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What `test` is, bool (n,), and how likely an attack a classifier of these columns thinks it."""
    tables = [np.array([one.features for one in chunks])[:, list(columns)] for chunks in (train, test)]
    labels = [np.array([bool(one.techniques) for one in chunks]) for chunks in (train, test)]
    model = HistGradientBoostingClassifier(random_state=0).fit(tables[0], labels[0])
    return labels[1], model.predict_proba(tables[1])[:, 1]


def auc_interval(labels: np.ndarray, scores: np.ndarray, groups: Sequence[object]) -> list[float]:
    """Area under the ROC curve, and its 95 % interval when whole groups are drawn with replacement."""
    order = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    at = np.array([order[group] for group in groups])
    # Pairs that are told apart, by the groups of their two ends: a draw only weighs them.
    wins, sizes = np.zeros((len(order), len(order))), np.zeros((2, len(order)))
    for label in (0, 1):
        np.add.at(sizes[label], at[labels == label], 1)
    for number in range(len(order)):
        others = np.sort(scores[(at == number) & ~labels])
        below = [np.searchsorted(others, scores[labels], side) for side in ("left", "right")]
        np.add.at(wins[:, number], at[labels], sum(below) / 2)
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(DRAWS):
        weights = np.bincount(rng.integers(0, len(order), len(order)), minlength=len(order))
        pairs = float(weights @ sizes[1]) * float(weights @ sizes[0])
        areas += [float(weights @ wins @ weights) / pairs] if pairs else []
    area = float(wins.sum()) / float(sizes[0].sum() * sizes[1].sum())
    return [area, *(float(value) for value in np.quantile(areas, (0.025, 0.975)))]


def _features(lines: Session, session: Session) -> tuple[float, ...]:
    lengths = [len(line.text) for line in lines]
    times = [line.time for line in lines]
    gaps = np.diff(times)
    every = np.array([line.time for line in session])
    near = np.searchsorted(every, times[-1] + 10) - np.searchsorted(every, times[0] - 10)
    return (sum(lengths), max(lengths), min(lengths), float(np.std(lengths)), times[-1] - times[0],
            float(max(gaps)), times[0] % 86400 // 3600, float(near))  # fmt: skip


def oracle_f1(train: Sequence[Chunk], test: Sequence[Chunk], made: Sequence[Session]) -> dict[str, Any]:
    """Macro F1 of the oracle with all sources, and with those of each view; steps that are found across sources only.

    A step is found in a session if half of its events that a view has are given to it, and half of those given to it
    are its; it is found across sources only if all of them find it in half of its sessions or more, and no view does.
    """
    labels = _labelled(test)[1]
    classes = classes_of(_labelled(train)[1], labels)
    wanted = table(labels, classes)
    sessions = {number: made[number] for number in sorted({one.session[1] for one in test})}
    found: dict[str, Any] = {}
    shares: dict[str, dict[str, float]] = {}
    for view, sources in VIEWS.items():
        steps = {key: _steps(session, sources) for key, session in sessions.items()}
        scores = f1_score(wanted, table([_guess(one, steps[one.session[1]]) for one in test], classes), average=None,
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
    return {number: (f"{one.scenario}.{one.step}", parents(one.techniques)) for number, one in found.items()}


def _guess(chunk: Chunk, steps: dict[int, tuple[str, frozenset[str]]]) -> frozenset[str]:
    return frozenset().union(
        *(steps[number][1] for number in range(chunk.start, chunk.start + CHUNK) if number in steps)
    )


def _found(
    sessions: dict[int, Session],
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


if __name__ == "__main__":
    main()
