"""How alike two short texts are: ROUGE-L, the longest common subsequence of words (Lin, 2004), as an F1."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[a-z0-9]+(?:[.'][a-z0-9]+)*")
_WORDS = 200


def words(text: str) -> list[str]:
    """Lower-case words and numbers of a text, 200 at most; `T1059.001` is one word."""
    return _WORD.findall(text.lower())[:_WORDS]


def rouge_l(reference: str, text: str) -> float:
    """F1 of the longest common subsequence of words, in [0, 1]; 1 for two texts without words."""
    first, second = words(reference), words(text)
    if not first or not second:
        return float(first == second)
    common = _longest_common(first, second)
    return 2 * common / (len(first) + len(second))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, in len(first) * len(second) steps."""
    row = [0] * (len(second) + 1)
    for one in first:
        before = 0
        for place, other in enumerate(second, 1):
            above = row[place]
            row[place] = before + 1 if one == other else max(above, row[place - 1])
            before = above
    return row[-1]
