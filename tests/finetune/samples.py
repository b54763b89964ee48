"""Sequences of two kinds, and logs with a truth beside them."""

import numpy as np

from logfm.finetune import Sequences


def planted(count, seed, dim=8, attack=0.3):
    """Vectors of noise; a sequence of an attack holds one event that is far off in one dimension."""
    rng = np.random.default_rng(seed)
    vectors, times, labels = [], [], []
    for number in range(count):
        events = rng.normal(size=(rng.integers(2, 9), dim)).astype(np.float32)
        label = int(number < 2 or rng.random() < attack) if number != 1 else 0
        if label:
            events[rng.integers(len(events)), 0] += 6
        vectors.append(events)
        times.append(np.cumsum(rng.random(len(events))))
        labels.append(label)
    return Sequences(vectors, times), np.array(labels)


def write_logs(folder, hosts=12, per_host=30, seed=0):
    """`folder/logs/auth.log` and `folder/labels.csv`; every third host refuses now and then, which is the attack."""
    rng = np.random.default_rng(seed)
    (folder / "logs").mkdir(parents=True)
    rows, offset, lines = ["file,offset,label"], 0, []
    for minute in range(per_host):
        for host in range(hosts):
            bad = host % 3 == 0 and minute % 5 == 4
            verb = "refused" if bad else "opened"
            line = (
                f"Jan  5 {10 + minute // 60:02d}:{minute % 60:02d}:{host:02d} host{host} "
                f"sshd[{rng.integers(100, 999)}]: session {verb} for user bob from 10.0.0.{rng.integers(255)}\n"
            )
            rows.append(f"auth.log,{offset},{'brute_force' if bad else 'benign'}")
            offset += len(line)
            lines.append(line)
    (folder / "logs" / "auth.log").write_text("".join(lines))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def recipe(folder, **changes):
    """A small configuration over `write_logs`, as a mapping."""
    document = {
        "encoder": "tfidf",
        "encoding": {"tfidf_dim": 16},
        "out": str(folder / "head"),
        "data": {
            "train": str(folder / "logs"),
            "labels": str(folder / "labels.csv"),
            "sequence": {"group": ["host"], "events": 5},
        },
        "head": {"kind": "lstm", "hidden": 8},
        "training": {"epochs": 6, "batch": 8, "learning_rate": 0.01},
    }
    for name, value in changes.items():
        *parents, leaf = name.split("__")
        node = document
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    return document
