import random
from collections.abc import Sequence

import numpy as np
import pytest

from logfm.configs.schema.evaluation import ComparisonConfig, SimilarityConfig
from logfm.errors import LogfmError, UserError
from logfm.evaluation.baselines import random_vectors, tfidf
from logfm.evaluation.comparison import COMPARED, RANDOM, TFIDF, TFIDF_LETTERS, compare
from logfm.evaluation.search import halves
from logfm.evaluation.templates import template_labels

VERBS = [
    "opened",
    "closed",
    "failed",
    "renewed",
    "dropped",
    "queued",
    "parsed",
    "sealed",
    "mounted",
    "rotated",
    "expired",
]
VERBS += ["granted", "revoked", "resumed", "purged", "locked"]
SMALL = ComparisonConfig(similarity=SimilarityConfig(pairs=200))


def _lines(count: int = 240, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    names = [VERBS[i % len(VERBS)] for i in range(count)]
    lines = [
        f"Jun {rng.randint(10, 28)} 10:{rng.randint(10, 59)}:00 host app[{i}]: session {rng.getrandbits(40):x} {verb}"
        for i, verb in enumerate(names)
    ]
    return lines, names


def _by_verb(texts: Sequence[str]) -> np.ndarray:
    return np.array([[float(verb in text) for verb in VERBS] for text in texts])


def test_an_encoder_is_given_raw_lines_and_nothing_else() -> None:
    lines, names = _lines()
    seen: list[tuple[object, ...]] = []

    def spy(*given: object, **named: object) -> np.ndarray:
        seen.append((*given, *named.values()))
        return _by_verb(given[0])  # type: ignore[arg-type]

    compare(lines, [f"TEMPLATE-{name}" for name in names], {"spy": spy}, SMALL)
    assert len(seen) == 1
    (texts,) = seen[0]
    assert isinstance(texts, list) and all(type(text) is str for text in texts)
    assert sorted(texts) == sorted(lines)
    assert not any("TEMPLATE-" in text for text in texts)


def test_relabelling_the_templates_changes_what_no_encoder_sees() -> None:
    lines, names = _lines()
    inputs: list[list[str]] = []

    def spy(texts: Sequence[str]) -> np.ndarray:
        inputs.append(list(texts))
        return _by_verb(texts)

    compare(lines, names, {"a": spy}, SMALL)
    compare(lines, [name[::-1] + "x" for name in names], {"a": spy}, SMALL)
    assert inputs[0] == inputs[1]


def test_the_encoder_that_knows_the_answer_wins_and_random_loses() -> None:
    lines, names = _lines()
    found = compare(lines, template_labels(lines), {"oracle": _by_verb, "noise": random_vectors(32, 9)}, SMALL)
    scores = {score.name: score.metrics for score in found.scores}
    assert list(scores) == ["oracle", "noise", TFIDF, TFIDF_LETTERS, RANDOM]
    assert [scores["oracle"][name].value for name in ("map", "mrr", "pair_auc")] == [1.0, 1.0, 1.0]
    assert scores[RANDOM]["map"].value < 0.3
    assert scores[RANDOM]["pair_auc"].value == pytest.approx(0.5, abs=0.1)
    assert len(found.verdicts) == 2 * 2 * len(COMPARED)
    lost = [v for v in found.verdicts if v.encoder == "noise" and v.metric == "map"]
    assert [v.winner for v in lost] == [TFIDF, TFIDF_LETTERS]
    assert all(v.difference.value < 0 for v in lost)
    assert found.templates == len(set(names))


def test_an_encoder_against_itself_is_a_tie() -> None:
    lines, names = _lines()
    queries_fit = [lines[row] for row in halves(len(lines))[1]]
    found = compare(lines, names, {"same": tfidf(queries_fit)}, SMALL)
    same = [verdict for verdict in found.verdicts if verdict.rival == TFIDF]
    assert [verdict.difference.value for verdict in same] == pytest.approx([0.0] * len(COMPARED))
    assert [verdict.winner for verdict in same] == [None] * len(COMPARED)


def test_the_same_seed_gives_the_same_figures() -> None:
    lines, names = _lines()
    runs = [compare(lines, names, {"a": _by_verb}, SMALL) for _ in range(2)]
    first, second = ([(s.name, {k: m.value for k, m in s.metrics.items()}) for s in run.scores] for run in runs)
    assert first == second


def test_repeats_and_lines_beyond_the_sample_are_counted() -> None:
    lines, names = _lines(100)
    config = SMALL.model_copy(update={"max_lines": 60})
    found = compare(lines + lines[:30], names + names[:30], {}, config)
    assert (found.lines, found.repeated, found.sampled_out) == (60, 30, 40)
    assert found.queries + sum(found.left_out.values()) == 30
    assert found.references == 30


@pytest.mark.parametrize(
    ("lines", "templates", "message"),
    [
        (["a"] * 50, ["t"] * 50, "too few"),
        ([f"line {i}" for i in range(40)], ["t"] * 40, "at least two templates"),
        ([f"line {i}" for i in range(40)], [str(i) for i in range(40)], "two lines of one template"),
    ],
)
def test_lines_that_cannot_be_scored_are_refused_in_one_line(
    lines: list[str], templates: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        compare(lines, templates, {}, SMALL)


def test_templates_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError):
        compare(["a", "b"], ["t"], {}, SMALL)


def test_an_encoder_that_gives_no_figures_is_named_as_the_cause() -> None:
    lines, names = _lines()
    with pytest.raises(LogfmError, match="not finite"):
        compare(lines, names, {"bad": lambda texts: np.full((len(texts), 4), np.nan)}, SMALL)


def test_tfidf_knows_only_the_words_it_was_fitted_on() -> None:
    encode = tfidf(["disk full on host1", "disk ok on host2"])
    vectors = encode(["disk full", "never seen"])
    assert vectors.shape == (2, 6)
    assert vectors[1].nnz == 0
    assert encode(["disk", "disk"]).toarray()[0].tolist() == encode(["disk never"]).toarray()[0].tolist()
    letters = tfidf(["disk1 full2"], "letters")(["disk7 full8"])
    assert letters.nnz == 2
    with pytest.raises(UserError, match="no words"):
        tfidf(["", " "])


def test_random_vectors_depend_on_text_and_seed_alone() -> None:
    encode = random_vectors(64, seed=1)
    first = encode(["a", "b", "a", "\ud800"])
    assert first.dtype == np.float32 and first.shape == (4, 64)
    assert (first[0] == first[2]).all() and not (first[0] == first[1]).all()
    assert (encode(["b"])[0] == first[1]).all()
    assert not (random_vectors(64, seed=2)(["a"])[0] == first[0]).all()
    assert np.abs(np.corrcoef(encode([str(i) for i in range(50)])) - np.eye(50)).max() < 0.7
