"""Who takes part without generating text: the majority, and learners over TF-IDF or over an encoder's vectors."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from logfm.evaluation.decoders.deciding import Decision, decide
from logfm.evaluation.decoders.guesses import Fold, Guess, Guesses
from logfm.evaluation.decoders.learners import Learner, Scorer, linear_svm, logistic, neighbours, network
from logfm.evaluation.vectors import Matrix
from logfm.extras import require
from logfm.finetune.decoder.answers import Answer, Case, Slot, whole_text

if TYPE_CHECKING:
    from logfm.embeddings.encoder import Encoder

Vectors = Callable[[Sequence[Case]], Matrix]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Majority:
    """Always the most frequent answer of train; where sets are wanted, its most frequent set."""

    name: str = "majority"

    @property
    def identity(self) -> Mapping[str, Any]:
        """It has no settings."""
        return {"kind": "majority", "version": 1}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """The same answer for every case."""
        answer = {
            slot.name: Counter(case.answer[slot.name] for case in fold.train).most_common(1)[0][0]
            for slot in fold.grammar.slots
        }
        return {"": [Guess(case.case_id, answer) for case in fold.test]}


@dataclass(frozen=True)
class Learnt:
    """A learner over vectors of the cases; its setting and its thresholds are chosen on validation, slot by slot.

    A reason is the one that train gives most often with the first label of the answer's set.
    """

    name: str
    learner: Learner
    fit: Callable[[Sequence[Case]], Vectors]
    """From the cases of train to what makes vectors."""
    about: Mapping[str, Any]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The learner and what its vectors are."""
        return {"kind": self.learner.__name__, "version": 2, **self.about}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Learn every slot, choose its setting, answer."""
        vectors = self.fit(fold.train)
        parts = [vectors(cases) for cases in (fold.train, fold.validation, fold.test)]
        answers: list[dict[str, tuple[str, ...]]] = [{} for _ in fold.test]
        scores: list[dict[str, dict[str, float]]] = [{} for _ in fold.test]
        for slot in fold.grammar.slots:
            if slot.kind == "text":
                continue
            decision, found = self._slot(slot, fold, parts, seed)
            fold.told.setdefault("validation", {})[slot.name] = round(decision.worth, 4)
            for place, labels in enumerate(decision.labels(found)):
                answers[place][slot.name] = labels
                if slot.kind == "one":
                    finite = zip(slot.labels, found[place].tolist(), strict=True)
                    scores[place][slot.name] = {label: score for label, score in finite if np.isfinite(score)}
        complete = with_reasons(fold, answers)
        ids = [case.case_id for case in fold.test]
        return {"": [Guess(*row, scores=one) for row, one in zip(zip(ids, complete, strict=True), scores, strict=True)]}

    def _slot(self, slot: Slot, fold: Fold, parts: Sequence[Matrix], seed: int) -> tuple[Decision, Floats]:
        labels = np.array([[label in case.answer[slot.name] for label in slot.labels] for case in fold.train])
        truth = [case.answer[slot.name] for case in fold.validation]
        best: tuple[Decision, Scorer] | None = None
        for score in self.learner(parts[0], labels, slot.kind == "one", seed):
            decision = decide(slot, score(parts[1]), truth)
            if best is None or decision.worth > best[0].worth:
                best = decision, score
        assert best is not None, "a learner offers a setting at least"
        return best[0], best[1](parts[2])


def with_reasons(fold: Fold, answers: Sequence[Mapping[str, tuple[str, ...]]]) -> list[Answer]:
    """Answers with their texts filled in: what train says most often where it gives the same first label."""
    texts = [slot for slot in fold.grammar.slots if slot.kind == "text"]
    sets = [slot for slot in fold.grammar.slots if slot.kind == "set"]
    if not texts:
        return list(answers)
    said: dict[tuple[str, str], Counter[tuple[str, ...]]] = defaultdict(Counter)
    for case in fold.train:
        for slot in texts:
            for label in ["", *(label for one in sets for label in case.answer[one.name])]:
                said[slot.name, label][case.answer[slot.name]] += 1
    complete: list[Answer] = []
    for answer in answers:
        first = next((answer[slot.name][0] for slot in sets if answer[slot.name]), "")
        reasons = {slot.name: (said.get((slot.name, first)) or said[slot.name, ""]) for slot in texts}
        complete.append({**answer, **{name: counts.most_common(1)[0][0] for name, counts in reasons.items()}})
    return complete


def tfidf_vectors(train: Sequence[Case]) -> Vectors:
    """TF-IDF of words (one and two) and of characters (three to five within words), fitted on train."""
    text = require("sklearn.feature_extraction.text", "embed")
    union = require("sklearn.pipeline", "embed").FeatureUnion
    least = 2 if len(train) >= 50 else 1
    words = text.TfidfVectorizer(
        token_pattern=r"[A-Za-z0-9_.\\/-]+", ngram_range=(1, 2), min_df=least, sublinear_tf=True, max_features=100_000
    )
    letters = text.TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=least, sublinear_tf=True, max_features=100_000
    )
    both = union([("words", words), ("letters", letters)])
    both.fit([whole_text(case) for case in train])
    return lambda cases: both.transform([whole_text(case) for case in cases]).tocsr()


@dataclass(frozen=True, eq=False)
class Pooled:
    """Vectors of cases from an encoder of single events: mean and maximum over a case's lines, float32 (n, 2 dim)."""

    encoder: "Encoder"
    kept: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def fit(self, train: Sequence[Case]) -> Vectors:
        """The encoder is frozen: train teaches it nothing."""
        return self.vectors

    def vectors(self, cases: Sequence[Case]) -> Matrix:
        """Vectors of cases; a line is encoded once."""
        texts = [whole_text(case) for case in cases]
        lines = [[line for line in text.split("\n") if line.strip()] or [text] for text in texts]
        new = [line for line in dict.fromkeys(line for one in lines for line in one) if line not in self.kept]
        if new:
            self.kept.update(zip(new, self.encoder.encode(new), strict=True))
        stacks = [np.stack([self.kept[line] for line in one]) for one in lines]
        return np.stack([np.concatenate([stack.mean(axis=0), stack.max(axis=0)]) for stack in stacks])


def classical() -> list[Majority | Learnt]:
    """Those that need nothing but the cases."""
    about = {"vectors": "tfidf words 1-2, letters 3-5"}
    return [
        Majority(),
        Learnt("TF-IDF + SVM", linear_svm, tfidf_vectors, about),
        Learnt("TF-IDF neighbours", neighbours, tfidf_vectors, about),
    ]


def encoder_heads(encoder: "Encoder", name: str) -> list[Learnt]:
    """Heads over a frozen encoder; `name` is what tables call it."""
    pooled = Pooled(encoder)
    about = {"encoder": encoder.hash, "pooling": "mean and maximum of lines"}
    return [
        Learnt(f"{name} + logistic head", logistic, pooled.fit, about),
        Learnt(f"{name} + network head", network, pooled.fit, about),
        Learnt(f"{name} neighbours", neighbours, pooled.fit, about),
    ]
