"""Templates that are known beforehand, such as those in a program's source: which of them wrote a log line."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from logfm.corpus.templates import template_hashes
from logfm.errors import UserError

HOLE = "<*>"
_WORD = re.compile(r"(?<!\w)[A-Za-z]{3,40}(?!\w)")
_FEWEST = 8
"""Characters that a template must have beside its values: shorter ones stand in too many lines."""


class KnownTemplates:
    """Templates, found in a line by their rarest word, then by all that stands between their values, in order."""

    def __init__(self, templates: Sequence[str]) -> None:
        whole = {one: _WORD.findall(one.replace(HOLE, "0")) for one in sorted({*templates})}
        usable = [one for one, words in whole.items() if words and len(one.replace(HOLE, "")) >= _FEWEST]
        self._hashes = template_hashes(pa.array(usable, pa.string()))
        self._constants = [[part for part in one.split(HOLE) if part.strip()] for one in usable]
        self._begins = [_begin(one, parts[0]) for one, parts in zip(usable, self._constants, strict=True)]
        self._words = [frozenset(whole[one]) for one in usable]
        self._sizes = [sum(map(len, parts)) for parts in self._constants]
        lines = Counter(word for one in usable for word in {*whole[one]})
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(usable):
            self._by_word[min(whole[one], key=lambda word: (lines[word], word))].append(number)

    @classmethod
    def read(cls, path: Path) -> "KnownTemplates":
        """Those of a text file: one template a line, `<*>` where a value stands.

        Raises:
            UserError: it can't be read, is no UTF-8, or holds no template that can be told from others.
        """
        fix = "Give a text file in UTF-8, a template a line."
        try:
            found = cls(path.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"these templates can't be read ({type(error).__name__})", path, fix) from error
        if not len(found._hashes):
            raise UserError(f"no template of {_FEWEST} characters or more beside its values", path, fix)
        return found

    def hashes(self, texts: pa.Array) -> np.ndarray:
        """Hash of each text's template, uint64 (len(texts),): of the known ones that fit the one with most characters,
        else the text with its values masked. `texts` is a string array without nulls.
        """
        found = template_hashes(texts)
        for row, text in enumerate(texts.to_pylist()):
            number = self._find(text)
            if number is not None:
                found[row] = self._hashes[number]
        return found

    def _find(self, text: str) -> int | None:
        words = set(_WORD.findall(text))
        likely = [number for word in self._by_word.keys() & words for number in self._by_word[word]
                  if self._words[number] <= words]  # fmt: skip
        fitting = [number for number in likely if self._fits(number, text)]
        return max(fitting, key=lambda number: (self._sizes[number], -number), default=None)

    def _fits(self, number: int, text: str) -> bool:
        # By hand: a regular expression would try every place of every part, and logs are written by attackers.
        begin = self._begins[number].search(text) if self._constants[number][0] in text else None
        place = begin.end() if begin else -1
        for constant in self._constants[number][1:]:
            found = -1 if place < 0 else text.find(constant, place)
            place = -1 if found < 0 else found + len(constant)
        return place >= 0


def _begin(template: str, first: str) -> re.Pattern[str]:
    """The first constant, at the beginning of a word if no value stands before it."""
    return re.compile(("" if template.startswith(HOLE) or not first[0].isalnum() else r"(?<!\w)") + re.escape(first))
