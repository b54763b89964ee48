"""Decoding under the answers' grammar: at every place only what leads to a label, with the labels' probabilities.

The probability of a label is what the model gives its tokens of all that could be written, divided by what it gives all
labels: they are computed in one pass over the tree that their tokens make. A set is written label by label, in the
grammar's order: each step chooses a label that may still come, then whether another one follows.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch

from logfm.finetune.decoder.answers import NONE, Slot
from logfm.finetune.decoder.prompting import Prompter, Tokens
from logfm.finetune.decoder.session import Session

_AT_ONCE = 8_192
"""Tokens of trees that go through the model together."""

_FIRST = 32
"""Places of a large tree that are read first."""

_MARGIN = 9.0
"""Natural logarithm of how much less likely than the best a label is that isn't looked at to its end: 1 in 8,000."""

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
        asked = [_may_come(found.labels[row], slot) for row in running]
        scores = score(session, tree(_options(ways, comma, closing)), running, asked)
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


def score(
    session: Session, root: Node, rows: Sequence[int] | None = None, asked: Sequence[Collection[str]] | None = None
) -> dict[int, dict[str, float]]:
    """For each of these texts, all by default, the natural logarithms of all labels' probabilities: they sum to one.

    What a label's tokens have of the whole vocabulary is multiplied, and divided by what all labels have together:
    dividing at every fork instead would favour labels that share little with others. Of a large tree the upper part is
    read first, and below it only what can matter: a label whose beginning alone is `_MARGIN` less likely than the best
    of those `asked` for (all by default) shares its beginning's probability with the labels that have it, too.
    """
    rows = range(session.size) if rows is None else rows
    asked = [tuple(_labels(root))] * len(rows) if asked is None else asked
    size = max(1, _AT_ONCE // max(1, len(_inner(root))))
    found: dict[int, dict[str, float]] = {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        found |= _score(session, root, part, asked[start : start + size])
    return found


def _score(
    session: Session, root: Node, rows: Sequence[int], asked: Sequence[Collection[str]]
) -> dict[int, dict[str, float]]:
    inner = _inner(root)
    open_ = inner if len(inner) <= 2 * _FIRST else inner[:_FIRST]
    first = True
    while True:
        shares = _shares(session, root, {id(node) for node in open_}, rows)
        leaves, bounds = _reached(root, shares)
        wanted = {label: torch.tensor([label in one for one in asked]) for label in _labels(root)}
        best = _highest([share.masked_fill(~wanted[label], -math.inf) for label, share in leaves.items()], len(rows))
        hopes = [
            bound.masked_fill(~torch.stack([wanted[label] for label in _labels(node)]).any(0), -math.inf)
            for node, bound in bounds
        ]
        # At first what the upper part promises counts too: the labels in it are few.
        least = torch.maximum(best, _highest(hopes, len(rows))) if first else best
        kept = [node for (node, _), hope in zip(bounds, hopes, strict=True) if bool((hope > least - _MARGIN).any())]
        if not kept:
            break
        first = False
        open_ = open_ + [one for node in kept for one in _inner(node)]
    for node, bound in bounds:
        labels = _labels(node)
        for label in labels:
            share = bound - math.log(len(labels))
            leaves[label] = torch.logaddexp(leaves[label], share) if label in leaves else share
    normal = torch.stack([*leaves.values()], 1).log_softmax(1).tolist()
    return {row: dict(zip(leaves, one, strict=True)) for row, one in zip(rows, normal, strict=True)}


def _shares(session: Session, root: Node, open_: set[int], rows: Sequence[int]) -> dict[int, torch.Tensor]:
    """For each child of an open node, by its id, the logarithm of the probability of the way to it in these texts,
    float32 (rows,). What lies above an open node is open.
    """
    tokens: Tokens = []
    parents: list[int] = []
    places: list[tuple[int, Node]] = [(-1, root)]
    for place, node in places:
        for token, child in node.children.items():
            if id(child) in open_:
                tokens.append(token)
                parents.append(place)
                places.append((len(tokens) - 1, child))
    states = session.branches(tokens, parents, rows) if tokens else None
    found = {id(root): torch.zeros(len(rows))}
    for place, node in places:
        logits = session.logits[list(rows)] if states is None or place < 0 else session.following(states[:, place])
        logprobs = (logits[:, list(node.children)] - logits.logsumexp(1, keepdim=True)).cpu() + found[id(node)][:, None]
        found |= {id(child): share for child, share in zip(node.children.values(), logprobs.T, strict=True)}
    return found


def _reached(
    root: Node, shares: dict[int, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], list[tuple[Node, torch.Tensor]]]:
    """The labels that were reached, and the places beyond which nobody looked, with their logarithms."""
    leaves: dict[str, torch.Tensor] = {}
    bounds: list[tuple[Node, torch.Tensor]] = []
    nodes = [root]
    for node in nodes:
        for child in node.children.values():
            share = shares[id(child)]
            if not child.children:
                leaves[child.label] = torch.logaddexp(leaves[child.label], share) if child.label in leaves else share
            elif id(next(iter(child.children.values()))) in shares:
                nodes.append(child)
            else:
                bounds.append((child, share))
    return leaves, bounds


def _highest(values: Sequence[torch.Tensor], rows: int) -> torch.Tensor:
    return torch.stack([torch.full((rows,), -math.inf), *values]).amax(0)


def _inner(root: Node) -> list[Node]:
    """The nodes that something follows on, from the top."""
    nodes = [root]
    for node in nodes:
        nodes += [child for child in node.children.values() if child.children]
    return nodes


def _labels(node: Node) -> list[str]:
    """The labels below a node."""
    own = [node.label] if not node.children else []
    return [*dict.fromkeys(own + [label for child in node.children.values() for label in _labels(child)])]


def _options(ways: dict[str, Tokens], *ends: Tokens) -> list[Option]:
    """Labels with what may stand behind them: it tells one from another that it begins (T1059, T1059.001)."""
    return [([*way, *end[:1]], label) for label, way in ways.items() for end in ends if end]


def _may_go_on(written: Sequence[str], slot: Slot) -> bool:
    """Whether another label may follow: in the slot's order, and no more of them than there are in training."""
    return bool(written) and written[-1] != slot.labels[-1] and (slot.most is None or len(written) < slot.most)


def _may_come(written: Sequence[str], slot: Slot) -> tuple[str, ...]:
    """The labels behind those that a text has, or that none does."""
    after = slot.labels.index(written[-1]) + 1 if written else 0
    return (*slot.labels[after:], *((NONE,) if slot.empty and not written else ()))


def _next(scores: dict[str, float], slot: Slot, found: Decided, row: int) -> str:
    """The likeliest label behind those that a text has, noted in what was found."""
    written, highest = found.labels[row], found.logprobs[row]
    values = {label: scores[label] for label in _may_come(written, slot)}
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
