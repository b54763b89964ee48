"""Cases as tokens: a template from a file in the base's chat format. What comes from a log never becomes markup."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from logfm.configs.base import RECIPES
from logfm.errors import UserError
from logfm.finetune.decoder.answers import NONE, Answer, Case, Grammar, Slot, head_line

Tokens = list[int]

PROMPTS = RECIPES / "finetune" / "prompts"
_SECTIONS = {"system": "", "case": "{text}"}
_LABELS = re.compile(r"\{labels:(\w+)\}")
# Llama 3.2's chat format writes the day it is used on, unless it is told one: this is its own default.
_DATE = "26 Jul 2024"
# Stands for text of a case while the chat format is laid around it.
_HOLE = "\ue0f0"
_SHORTEST_TEXT = 8


@dataclass(frozen=True)
class Template:
    """What surrounds a case: a system line, in which `{labels:threat}` stands for what the grammar allows there, and
    the case with `{head}` and `{text}`."""

    system: str
    case: str


@dataclass(frozen=True)
class Prompt:
    """A case as the model reads it, without what all cases of the prompter begin with."""

    tokens: Tokens
    cut: int
    """Tokens of the text's end that didn't fit into the context."""


def read_template(name: str | Path) -> Template:
    """Read a template: a file, or the name of one that ships.

    Raises:
        UserError: no such template, one without its two parts or their field, or one with others.
    """
    path = Path(name)
    if not path.is_file():
        path = PROMPTS / f"{name}.txt"
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        shipped = ", ".join(sorted(one.stem for one in PROMPTS.glob("*.txt")))
        raise UserError("no such prompt template", name, f"These ship: {shipped}.") from None
    pieces = re.split(r"^\[(\w+)\]\n", content, flags=re.MULTILINE)
    parts = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    for part, place in _SECTIONS.items():
        if place not in parts.get(part, "") or part not in parts:
            raise UserError(f"a prompt template needs [{part}]" + (f" with {place}" if place else ""), path)
    for part in parts.keys() - _SECTIONS:
        raise UserError(f"a prompt template has no [{part}]", path, "How an answer is written is the grammar's.")
    return Template(parts["system"], parts["case"])


def listed(system: str, grammar: Grammar) -> str:
    """A system line with the labels of slots put in: `low, medium or high` for `{labels:severity}`.

    Raises:
        UserError: the grammar has no such slot, or it is free text.
    """
    known = {slot.name: slot.labels for slot in grammar.slots if slot.kind != "text"}

    def labels(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UserError("the prompt template asks for labels of a slot that isn't there", match[0])
        *others, last = known[match[1]] or (NONE,)
        return f"{', '.join(others)} or {last}" if others else last

    return _LABELS.sub(labels, system)


@dataclass
class Prompter:
    """Writes cases and answers as tokens of one tokenizer, under one template and grammar."""

    tokenizer: Any
    template: Template
    grammar: Grammar
    context: int
    shots: Sequence[Case] = ()
    reason_tokens: int = 24
    prefix: Tokens = field(init=False)
    """What every prompt begins with."""
    end: int = field(init=False)
    """The token that ends an answer."""

    def __post_init__(self) -> None:
        self._system = listed(self.template.system, self.grammar)
        self._head, self._text, self._tail = self._chat()
        self.prefix = self._head
        if not self.prefix:
            raise UserError("the prompt has to begin with something before the case", fix="Give the template a system.")

    def prompt(self, case: Case) -> Prompt:
        """A case's tokens, behind the prefix and up to where the answer begins; the text's end goes if it has to."""
        pieces = [self.plain(text) for text in _filled(self._text, case)]
        room = self.context - len(self.prefix) - len(self._tail) - self.answer_room
        over = max(0, sum(map(len, pieces)) - room)
        longest = max(range(len(pieces)), key=lambda place: len(pieces[place]))
        if len(pieces[longest]) - over < min(_SHORTEST_TEXT, len(pieces[longest])):
            raise UserError(
                f"no room for a case in {self.context} tokens",
                fix="Raise prompt.context, or lower prompt.shots.",
            )
        if over:
            pieces[longest] = pieces[longest][:-over]
        return Prompt([token for piece in pieces for token in piece] + self._tail, over)

    @property
    def answer_room(self) -> int:
        """Most tokens of an answer under the grammar, a set counted with four labels."""
        room = 1
        for place, slot in enumerate(self.grammar.slots):
            longest = max((len(self.label(label, first=True)) for label in slot.labels), default=0)
            room += len(self.opening(place)) + {"one": 1, "set": 4, "text": 0}[slot.kind] * (longest + 1)
            room += self.reason_tokens if slot.kind == "text" else 0
        return room

    def answer(self, answer: Answer) -> Tokens:
        """An answer's tokens with the end, built of the pieces that decoding under the grammar chooses from."""
        return [token for piece, _ in self.pieces(answer) for token in piece]

    def pieces(self, answer: Answer) -> list[tuple[Tokens, Slot | None]]:
        """An answer's tokens in pieces, and the slot that a piece fills; None where it is the same in every answer.

        The token behind the labels belongs to them: it says that no further one and no sub-technique follows.
        """
        slots = self.grammar.slots
        closings = [*(self.opening(place) for place in range(1, len(slots))), [self.end]]
        found: list[tuple[Tokens, Slot | None]] = [(self.opening(0), None)]
        for slot, closing in zip(slots, closings, strict=True):
            found.append(([*self._filling(slot, answer[slot.name]), *closing[:1]], slot))
            found.append((closing[1:], None))
        return found

    def _filling(self, slot: Slot, labels: Sequence[str]) -> Tokens:
        if slot.kind == "text":
            return self.text(" ".join(labels[0].split()) if labels else NONE)[: self.reason_tokens]
        tokens: Tokens = []
        for number, label in enumerate(labels or (NONE,)):
            tokens += self.label(label, first=number == 0)
        return tokens

    def opening(self, place: int) -> Tokens:
        """`name:` of the slot at this place, with the line break before it."""
        name = f"{self.grammar.slots[place].name}:"
        return self._piece(f"\n{name}", ",") if place else self._piece(name, "\n")

    def label(self, label: str, *, first: bool) -> Tokens:
        """A label behind the slot's name, or behind another label."""
        return self._piece(f" {label}", ":") if first else self._piece(f", {label}", "0")

    def text(self, text: str) -> Tokens:
        """Free text behind the slot's name."""
        return self._piece(f" {text}", ":")

    def plain(self, text: str) -> Tokens:
        """Tokens of a text in which nothing is markup."""
        found: Tokens = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens."""
        found: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return found

    def _piece(self, text: str, anchor: str) -> Tokens:
        """Tokens of a text as they follow on `anchor`."""
        before, both = self.plain(anchor), self.plain(anchor + text)
        return both[len(before) :] if both[: len(before)] == before else self.plain(text)

    def _markup(self, text: str) -> Tokens:
        found: Tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _chat(self) -> tuple[Tokens, list[str], Tokens]:
        """What stands before the case, the case's template split at its holes, what stands behind; sets the end."""
        holes = re.split(r"(\{head\}|\{text\})", self.template.case)
        turns = [(shot, True) for shot in self.shots]
        rendered, ending = self._render(len(turns))
        self.end = self._end(ending)
        pieces = rendered.split(_HOLE)
        if len(pieces) != 2 * len(turns) + 2:
            raise UserError("the base's chat template drops or repeats what is in a message")
        tokens = self._start() + self._markup(pieces[0])
        for number, (shot, _) in enumerate(turns):
            tokens += [token for text in _filled(holes, shot) for token in self.plain(text)]
            tokens += self._markup(pieces[2 * number + 1])
            tokens += self.answer(shot.answer)[:-1] + self._markup(pieces[2 * number + 2])
        return tokens, holes, self._markup(pieces[-1])

    def _render(self, shots: int) -> tuple[str, str]:
        """The chat with holes, and what follows on an answer."""
        user, assistant = {"role": "user", "content": _HOLE}, {"role": "assistant", "content": _HOLE}
        if not self.tokenizer.chat_template:
            turns = f"{_HOLE}\n\n{_HOLE}\n\n" * shots
            return f"{self._system}\n\n{turns}{_HOLE}\n\n", ""
        system = {"role": "system", "content": self._system}
        messages = [system, *[user, assistant] * shots, user]
        try:
            return self._apply(messages)
        except jinja2.TemplateError:
            # Some templates know no system message.
            first = {"role": "user", "content": f"{self._system}\n\n{_HOLE}"}
        try:
            return self._apply([first, *messages[2:]])
        except jinja2.TemplateError as error:
            raise UserError(f"the base's chat template fails ({' '.join(str(error).split())[:200]})") from error

    def _apply(self, messages: list[dict[str, str]]) -> tuple[str, str]:
        apply = partial(self.tokenizer.apply_chat_template, date_string=_DATE)
        rendered: str = apply(messages, tokenize=False, add_generation_prompt=True)
        whole: str = apply([*messages, {"role": "assistant", "content": _HOLE}], tokenize=False)
        return rendered, whole.rsplit(_HOLE, 1)[1]

    def _start(self) -> Tokens:
        """The token that texts begin with, where the tokenizer sets one and the chat template doesn't."""
        bos = self.tokenizer.bos_token_id
        if self.tokenizer.chat_template or bos is None:
            return []
        return [bos]

    def _end(self, ending: str) -> int:
        special = [token for token in self._markup(ending) if token in self.tokenizer.all_special_ids]
        if special:
            return special[0]
        eos: int | None = self.tokenizer.eos_token_id
        if eos is None:
            raise UserError("the base's tokenizer has no token that ends a text")
        return eos


def _filled(parts: Sequence[str], case: Case) -> list[str]:
    values = {"{head}": head_line(case), "{text}": case.text}
    return [values.get(part, part) for part in parts]


def choose_shots(cases: Sequence[Case], grammar: Grammar, count: int) -> list[Case]:
    """The shortest training cases, one of each answer in the first slot in turn: the same ones whatever the test."""
    name = grammar.slots[0].name
    found: dict[tuple[str, ...], list[Case]] = {}
    for case in sorted(cases, key=lambda one: (len(one.text), one.case_id)):
        found.setdefault(case.answer[name], []).append(case)
    queues: Mapping[int, list[Case]] = dict(enumerate(sorted(found.values(), key=len, reverse=True)))
    # Not the very shortest: those are the least telling.
    ordered = [queue[len(queue) // 3 :] for queue in queues.values()]
    taken: list[Case] = []
    for turn in range(max(map(len, ordered), default=0)):
        taken += [queue[turn] for queue in ordered if turn < len(queue)]
        if len(taken) >= count:
            break
    return taken[:count]


def shortened(case: Case, prompter: Prompter, most: int) -> Case:
    """A shot whose text has at most so many tokens."""
    tokens = prompter.plain(case.text)
    return case if len(tokens) <= most else replace(case, text=prompter.decode(tokens[:most]))
