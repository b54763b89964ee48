"""Decoding under the answers' grammar: at every place only what leads to a label, with the labels' probabilities.

The probability of a label is the product of those of its tokens, each among the tokens that lead to some label there:
all labels' are computed in one pass over the tree that their tokens make. A set is written label by label, in the
grammar's order: each step chooses a label that may still come, then whether another one follows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from logfm.finetune.decoder.answers import NONE, Slot
from logfm.finetune.decoder.prompting import Prompter, Tokens
from logfm.finetune.decoder.session import Session

Option = tuple[Tokens, str]
"""How a label is written, and the label."""


@dataclass
class Node:
    """A place in a tree of options: what may follow, or at a leaf what was chosen."""

    children: dict[int, "Node"] = field(default_factory=dict)
    label: str | None = None


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
    found = score(session, tree([([*tokens, *closing], label) for label, tokens in ways.items()]))
    labels: list[tuple[str, ...]] = [(_chosen(row, slot, threshold),) for row in found.values()]
    return Decided(
        labels, [found[row] for row in range(session.size)], [[*ways[label], *closing] for label, *_ in labels]
    )


def choose_set(session: Session, prompter: Prompter, slot: Slot, closing: Tokens) -> Decided:
    """The labels of each text, chosen one after another; the session has read what was written."""
    size = session.size
    ways = {label: prompter.label(label, first=True) for label in slot.labels}
    laters = {label: prompter.label(label, first=False) for label in slot.labels}
    comma = _common([*laters.values()])
    laters = {label: way[len(comma) :] for label, way in laters.items()}
    ways[NONE] = prompter.label(NONE, first=True)
    unseen = [dict.fromkeys(slot.labels, -math.inf) for _ in range(size)]
    found = Decided([()] * size, unseen, [[] for _ in range(size)])
    running = list(range(size))
    while running:
        scores = score(session, tree(_options(ways, comma, closing)), running)
        _write(session, found, {row: ways[_next(one, slot, found, row)] for row, one in scores.items()})
        open_ = [row for row in running if comma and found.labels[row] and found.labels[row][-1] != slot.labels[-1]]
        ends = score(session, tree([(comma, "more"), (closing, "end")]), open_) if open_ else {}
        more = {row for row, one in ends.items() if one["more"] > one["end"]}
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
    """For each of these texts, all by default, the natural logarithms of all labels' probabilities: they sum to one."""
    rows = range(session.size) if rows is None else rows
    tokens: Tokens = []
    parents: list[int] = []
    forks: list[tuple[int, Node]] = [(-1, root)]
    for place, node in forks:
        for way, child in _ways(node):
            if child.label is None:
                at = place
                for token in way:
                    tokens.append(token)
                    parents.append(at)
                    at = len(tokens) - 1
                forks.append((at, child))
    states = session.branches(tokens, parents, rows) if tokens else None
    reached = {id(root): torch.zeros(len(rows))}
    found: dict[int, dict[str, float]] = {row: {} for row in rows}
    for place, node in forks:
        ways = list(node.children)
        if states is None or place < 0:
            logits = session.logits[list(rows)][:, ways]
        else:
            logits = session.some(states[:, place], ways)
        shares = torch.log_softmax(logits, 1).cpu() + reached[id(node)][:, None]
        for number, (_, child) in enumerate(_ways(node)):
            if child.label is None:
                reached[id(child)] = shares[:, number]
                continue
            for row, value in zip(rows, shares[:, number].tolist(), strict=True):
                found[row][child.label] = _sum(found[row].get(child.label, -math.inf), value)
    return found


def _ways(node: Node) -> Iterator[tuple[Tokens, Node]]:
    """From a place to the next places where there is something to choose, or to leaves."""
    for token, child in node.children.items():
        way = [token]
        while len(child.children) == 1:
            token, child = next(iter(child.children.items()))
            way.append(token)
        yield way, child


def _options(ways: dict[str, Tokens], comma: Tokens, closing: Tokens) -> list[Option]:
    """Labels; one that begins another (T1059, T1059.001) with what may stand behind it."""
    found: list[Option] = []
    for label, way in ways.items():
        begins = any(other[: len(way)] == way for name, other in ways.items() if name != label)
        found += [([*way, *end], label) for end in (comma, closing) if end] if begins else [(way, label)]
    return found


def _next(scores: dict[str, float], slot: Slot, found: Decided, row: int) -> str:
    """The likeliest label behind those that a text has, noted in what was found."""
    written, highest = found.labels[row], found.logprobs[row]
    after = slot.labels.index(written[-1]) + 1 if written else 0
    values = {label: scores[label] for label in (*slot.labels[after:], *(() if written else (NONE,)))}
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


def _sum(one: float, other: float) -> float:
    """Logarithm of the sum of two probabilities."""
    high, low = max(one, other), min(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _common(ways: Sequence[Tokens]) -> Tokens:
    """What all begin with."""
    if len(ways) < 2:
        return []
    length = 0
    while len({one[length] if length < len(one) else None for one in ways}) == 1:
        length += 1
    return list(ways[0][:length])
