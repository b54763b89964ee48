"""Decoding under the answers' grammar: at every place only what leads to a label, with the labels' probabilities.

The probability of a label is what the model gives its tokens of all that could be written, divided by what it gives all
labels: they are computed in one pass over the tree that their tokens make. A set is written label by label, in the
grammar's order: each step chooses a label that may still come, then whether another one follows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from logfm.finetune.decoder.answers import NONE, Slot
from logfm.finetune.decoder.prompting import Prompter, Tokens
from logfm.finetune.decoder.session import Session

_AT_ONCE = 8_192
"""Tokens of trees that go through the model together."""

Option = tuple[Tokens, str]
"""How a label is written, and the label."""


@dataclass
class Node:
    """A place in a tree of options: what may follow, or at a leaf what was chosen."""

    children: dict[int, "Node"] = field(default_factory=dict)
    label: str = ""


@dataclass
class Decided:
    """What a slot was given, for each text."""

    labels: list[tuple[str, ...]]
    logprobs: list[dict[str, float]]
    """Natural logarithms of all labels' probabilities; of a set the largest that a label had at any step."""
    tokens: list[Tokens]
    """What was written, with what closes the slot."""


def tree(options: Sequence[Option]) -> Node:
    """The tree of these options; none may begin another one."""
    root = Node()
    for tokens, label in options:
        node = root
        for token in tokens:
            node = node.children.setdefault(token, Node())
        node.label = label
    return root


def choose_one(
    session: Session, prompter: Prompter, slot: Slot, closing: Tokens, threshold: float | None = None
) -> Decided:
    """The likeliest label of each text, and the logarithms of all labels' probabilities.

    With a threshold the second of two labels is chosen where its probability lies above it.
    """
    ways = {label: prompter.label(label, first=True) for label in slot.labels}
    found = score(session, tree(_options(ways, closing)))
    labels: list[tuple[str, ...]] = [(_chosen(row, slot, threshold),) for row in found.values()]
    return Decided(
        labels, [found[row] for row in range(session.size)], [[*ways[label], *closing] for label, *_ in labels]
    )


def choose_set(session: Session, prompter: Prompter, slot: Slot, closing: Tokens) -> Decided:
    """The labels of each text, chosen one after another; the session has read what was written."""
    size = session.size
    ways = {label: prompter.label(label, first=True) for label in slot.labels}
    laters = {label: prompter.label(label, first=False) for label in slot.labels}
    comma = [] if slot.most == 1 else _common([*laters.values()])
    laters = {label: way[len(comma) :] for label, way in laters.items()}
    if slot.empty:
        ways[NONE] = prompter.label(NONE, first=True)
    unseen = [dict.fromkeys(slot.labels, -math.inf) for _ in range(size)]
    found = Decided([()] * size, unseen, [[] for _ in range(size)])
    running = list(range(size))
    while running:
        scores = score(session, tree(_options(ways, comma, closing)), running)
        _write(session, found, {row: ways[_next(one, slot, found, row)] for row, one in scores.items()})
        open_ = [row for row in running if comma and _may_go_on(found.labels[row], slot)]
        more = {row for row in open_ if session.logits[row, comma[0]] > session.logits[row, closing[0]]}
        _write(session, found, {row: comma if row in more else closing for row in running})
        running, ways = sorted(more), laters
    return found


def choose_text(session: Session, prompter: Prompter, closing: Tokens, barred_V: torch.Tensor, most: int) -> Decided:
    """Free text of one line, greedily, of at most so many tokens; `barred_V` (bool) are those that no line holds."""
    size = session.size
    tokens: list[Tokens] = [[] for _ in range(size)]
    written: list[Tokens] = [[] for _ in range(size)]
    done = [False] * size
    barred_V = barred_V.clone()
    barred_V[closing[0]] = False
    while not all(done):
        best = session.logits.masked_fill(barred_V, -torch.inf).argmax(1).tolist()
        feeds: list[Tokens] = [[] for _ in range(size)]
        for row, token in enumerate(best):
            if done[row]:
                continue
            done[row] = token == closing[0] or len(tokens[row]) >= most
            feeds[row] = closing if done[row] else [token]
            tokens[row] += [] if done[row] else [token]
            written[row] += feeds[row]
        session.feed([] if all(done) and len(closing) == 1 else feeds)
    texts = [prompter.decode(one).strip() for one in tokens]
    return Decided([() if text in ("", NONE) else (text,) for text in texts], [{} for _ in texts], written)


def score(session: Session, root: Node, rows: Sequence[int] | None = None) -> dict[int, dict[str, float]]:
    """For each of these texts, all by default, the natural logarithms of all labels' probabilities: they sum to one.

    What a label's tokens have of the whole vocabulary is multiplied, and divided by what all labels have together:
    dividing at every fork instead would favour labels that share little with others.
    """
    rows = range(session.size) if rows is None else rows
    tokens: Tokens = []
    parents: list[int] = []
    places: list[tuple[int, Node]] = [(-1, root)]
    for place, node in places:
        for token, child in node.children.items():
            if child.children:
                tokens.append(token)
                parents.append(place)
                places.append((len(tokens) - 1, child))
    size = max(1, _AT_ONCE // max(1, len(tokens)))
    found: dict[int, dict[str, float]] = {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        states = session.branches(tokens, parents, part) if tokens else None
        logprobs = _logprobs(session, places, states, part)
        shares = torch.stack([*logprobs.values()], 1).log_softmax(1).tolist()
        found |= {row: dict(zip(logprobs, one, strict=True)) for row, one in zip(part, shares, strict=True)}
    return found


def _logprobs(
    session: Session, places: Sequence[tuple[int, Node]], states: torch.Tensor | None, rows: Sequence[int]
) -> dict[str, torch.Tensor]:
    """For each label the logarithms of its probability in these texts, float32 (rows,), from the states of a tree."""
    reached = {id(places[0][1]): torch.zeros(len(rows))}
    found: dict[str, torch.Tensor] = {}
    for place, node in places:
        logits = session.logits[list(rows)] if states is None or place < 0 else session.following(states[:, place])
        shares = (logits[:, list(node.children)] - logits.logsumexp(1, keepdim=True)).cpu() + reached[id(node)][:, None]
        for child, share in zip(node.children.values(), shares.T, strict=True):
            if child.children:
                reached[id(child)] = share
            else:
                found[child.label] = torch.logaddexp(found[child.label], share) if child.label in found else share
    return found


def _options(ways: dict[str, Tokens], *ends: Tokens) -> list[Option]:
    """Labels with what may stand behind them: it tells one from another that it begins (T1059, T1059.001)."""
    return [([*way, *end[:1]], label) for label, way in ways.items() for end in ends if end]


def _may_go_on(written: Sequence[str], slot: Slot) -> bool:
    """Whether another label may follow: in the slot's order, and no more of them than there are in training."""
    return bool(written) and written[-1] != slot.labels[-1] and (slot.most is None or len(written) < slot.most)


def _next(scores: dict[str, float], slot: Slot, found: Decided, row: int) -> str:
    """The likeliest label behind those that a text has, noted in what was found."""
    written, highest = found.labels[row], found.logprobs[row]
    after = slot.labels.index(written[-1]) + 1 if written else 0
    none = (NONE,) if slot.empty and not written else ()
    values = {label: scores[label] for label in (*slot.labels[after:], *none)}
    most = max(values.values())
    total = most + math.log(sum(math.exp(value - most) for value in values.values()))
    for label in values.keys() & highest.keys():
        highest[label] = max(highest[label], values[label] - total)
    best = max(values, key=lambda label: values[label])
    found.labels[row] = written if best == NONE else (*written, best)
    return best


def _write(session: Session, found: Decided, tokens: dict[int, Tokens]) -> None:
    for row, more in tokens.items():
        found.tokens[row] += more
    session.feed([tokens.get(row, []) for row in range(session.size)])


def _chosen(row: dict[str, float], slot: Slot, threshold: float | None) -> str:
    if threshold is None:
        return max(slot.labels, key=lambda label: row[label])
    return slot.labels[int(math.exp(row[slot.labels[1]]) > threshold)]


def _common(ways: Sequence[Tokens]) -> Tokens:
    """What all begin with."""
    if len(ways) < 2:
        return []
    length = 0
    while len({one[length] if length < len(one) else None for one in ways}) == 1:
        length += 1
    return list(ways[0][:length])
