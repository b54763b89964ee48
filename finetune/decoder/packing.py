"""Training cases as tokens, and the order in which they go through the model: little padding, exactly repeatable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from logfm.configs.schema.decoder import DecoderTrainingConfig
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.prompting import Prompter, Tokens

Pieces = Sequence[tuple[Tokens, Slot | None]]
"""An answer's tokens, and the slot that each piece fills, if it fills one."""

# Steps whose cases are sorted by length together.
_POOL = 8


@dataclass(frozen=True)
class Example:
    """A case with its answer, without the prefix that all have."""

    tokens: list[int]
    answer: int
    """Where the answer begins in `tokens`."""
    weights: list[float]
    """What each of the answer's tokens counts."""


@dataclass(frozen=True)
class Batch:
    """Right-padded examples: under a causal mask nothing looks at what stands behind it, so no mask is needed."""

    tokens_BL: torch.Tensor
    rows: list[int]
    """The examples' numbers."""
    lengths: list[int]
    sources_N: torch.Tensor
    """Flat places (row · L + column) of the states that predict an answer's token, int64."""
    targets_N: torch.Tensor
    weights_N: torch.Tensor
    """What each counts, float32."""


def examples(cases: Sequence[Case], prompter: Prompter, config: DecoderTrainingConfig) -> tuple[list[Example], int]:
    """Tokens of cases with their answers, and how many lost the end of their text.

    All tokens that tell a slot's labels count the same, whatever the label: their sum is then the label's likelihood,
    which decoding under the grammar compares. (One in all for each label would let the tokens of short ones count more,
    and with them T1059 more than T1059.001.) Over all cases every slot counts alike, what is the same in every answer
    `config.format_weight` of that, and an average case one. Free text counts as much as a label, however long it is.

    Raises:
        UserError: a case has a label that the grammar doesn't know.
    """
    _check(cases, prompter.grammar)
    weights = _weights(cases, prompter.grammar.slots[0].name) if config.balanced else [1.0] * len(cases)
    whole = len(prompter.grammar.slots) + config.format_weight
    written = [prompter.pieces(case.answer) for case in cases]
    labels = _label_tokens(written, weights)
    found, cut = [], 0
    for case, weight, pieces in zip(cases, weights, written, strict=True):
        prompt = prompter.prompt(case)
        fixed = sum(len(piece) for piece, slot in pieces if slot is None)
        shares: list[float] = []
        for piece, slot in pieces:
            if slot is None:
                share = config.format_weight / fixed
            else:
                share = 1 / (len(piece) if slot.kind == "text" else labels[slot.name])
            shares += [weight / whole * share] * len(piece)
        answer = [token for piece, _ in pieces for token in piece]
        found.append(Example([*prompt.tokens, *answer], len(prompt.tokens), shares))
        cut += prompt.cut > 0
    return found, cut


def plan(lengths: Sequence[int], config: DecoderTrainingConfig, seed: int) -> Iterator[list[list[int]]]:
    """The steps of the whole training, each a list of parts that fit `config.tokens`; cases of like length meet."""
    for epoch in range(config.epochs):
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(lengths))
        steps: list[list[int]] = []
        for start in range(0, len(order), _POOL * config.batch):
            pool = sorted(order[start : start + _POOL * config.batch].tolist(), key=lambda row: lengths[row])
            steps += [pool[at : at + config.batch] for at in range(0, len(pool), config.batch)]
        for place in rng.permutation(len(steps)):
            yield list(parts(steps[place], lengths, config.tokens))


def parts(rows: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Rows, longest first, in parts of at most so many tokens with padding; a longer row is a part of its own."""
    part: list[int] = []
    for row in sorted(rows, key=lambda row: -lengths[row]):
        if part and lengths[part[0]] * (len(part) + 1) > tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def collate(rows: list[int], given: Sequence[Example], pad: int) -> Batch:
    """Examples of these rows as tensors."""
    picked = [given[row] for row in rows]
    width = max(len(one.tokens) for one in picked)
    tokens = torch.full((len(picked), width), pad, dtype=torch.long)
    sources, targets, weights = [], [], []
    for place, one in enumerate(picked):
        tokens[place, : len(one.tokens)] = torch.tensor(one.tokens)
        answer = one.tokens[one.answer :]
        sources += [place * width + at for at in range(one.answer - 1, len(one.tokens) - 1)]
        targets += answer
        weights += one.weights
    return Batch(
        tokens,
        rows,
        [len(one.tokens) for one in picked],
        torch.tensor(sources),
        torch.tensor(targets),
        torch.tensor(weights, dtype=torch.float32),
    )


def _check(cases: Sequence[Case], grammar: Grammar) -> None:
    for slot in grammar.slots:
        known = set(slot.labels)
        for case in cases:
            strange = [] if slot.kind == "text" else [one for one in case.answer[slot.name] if one not in known]
            if strange:
                raise UserError(f"a case has the {slot.name} {strange[0]}, which is no label", case.group)


def _label_tokens(written: Sequence[Pieces], weights: Sequence[float]) -> dict[str, float]:
    """For each slot how many tokens tell its labels: the weighted mean over cases."""
    sums: dict[str, float] = {}
    for pieces, weight in zip(written, weights, strict=True):
        for piece, slot in pieces:
            if slot is not None:
                sums[slot.name] = sums.get(slot.name, 0.0) + weight * len(piece)
    return {name: tokens / sum(weights) for name, tokens in sums.items()}


def _weights(cases: Sequence[Case], slot: str) -> list[float]:
    counts: dict[tuple[str, ...], int] = {}
    for case in cases:
        counts[case.answer[slot]] = counts.get(case.answer[slot], 0) + 1
    return [len(cases) / (len(counts) * counts[case.answer[slot]]) for case in cases]
