"""Small cases whose labels hang on words."""

import random

from logfm.evaluation.decoders.guesses import Fold
from logfm.finetune.decoder.answers import Case, Grammar, Slot

TECHNIQUES = ("T1003.001", "T1047", "T1059.001", "T1105")
SETS = Grammar((Slot("techniques", "set", TECHNIQUES), Slot("reason", "text")))
LABELS = Grammar((Slot("label", "one", ("normal", "suspicious")),))


def cases(count, seed, named):
    """`count` cases in groups of five; their words give the techniques away."""
    rng = random.Random(seed)
    found = []
    for place in range(count):
        techniques = tuple(sorted(rng.sample(TECHNIQUES, rng.choice((1, 1, 2)))))
        words = [f"{name.lower()}tool{rng.randint(0, 4)}" for name in techniques for _ in range(2)]
        words += [f"noise{rng.randint(0, 50)}" for _ in range(8)]
        rng.shuffle(words)
        text = f"{' '.join(words[:6])}\n{' '.join(words[6:])}"
        answer = {"techniques": techniques, "reason": (f"seen {techniques[0]}",)}
        if not named:
            answer = {"label": ("suspicious" if "T1047" in techniques else "normal",)}
        found.append(Case(f"{seed}-{place}", f"{seed}-{place // 5}", "s", text, {}, (str(place),), answer))
    return tuple(found)


def fold(named=True, name="1", seed=0, train=120, validation=40, test=50):
    """A split of such cases."""
    sizes = enumerate((train, validation, test))
    parts = [cases(size, 10 * seed + place, named) for place, size in sizes]
    return Fold(name, SETS if named else LABELS, *parts)
