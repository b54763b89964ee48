"""Answers read off a language model for many cases at once, freely or under the grammar."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from logfm.configs.schema.decoder import DecodingConfig
from logfm.console import progress
from logfm.finetune.decoder.answers import Answer, Case, Slot
from logfm.finetune.decoder.constrained import Decided, choose_one, choose_set, choose_text
from logfm.finetune.decoder.packing import parts
from logfm.finetune.decoder.prompting import Prompt, Prompter, Tokens
from logfm.finetune.decoder.scoring import best_threshold
from logfm.finetune.decoder.session import Prefix, Session

Mode = Literal["free", "constrained"]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one case."""

    case_id: str
    raw: str
    """As it was written, whatever it is."""
    answer: Answer | None
    """Under the grammar; None of a free answer, which has yet to be parsed."""
    logprobs: dict[str, dict[str, float]]
    """For each slot natural logarithms of all its labels' probabilities (of a "set" the largest that a label had at any
    step); empty of a free answer."""
    cut: int = 0
    """Tokens of the case's text that didn't fit into the context."""


class Generator:
    """Answers cases with one model and one prompter; the model isn't changed."""

    def __init__(self, model: Any, prompter: Prompter, config: DecodingConfig, threshold: float | None = None) -> None:
        self.model, self.prompter, self.config, self.threshold = model, prompter, config, threshold
        self.prefix = Prefix(model, prompter.prefix)
        self._banned: torch.Tensor | None = None

    def predict(self, cases: Sequence[Case], mode: Mode, batch_tokens: int) -> list[Prediction]:
        """Predictions in the order of the cases."""
        prompts = [self.prompter.prompt(case) for case in cases]
        found: dict[int, Prediction] = {}
        with torch.inference_mode(), progress("cases", len(cases)) as advance:
            for rows in parts(range(len(cases)), [len(one.tokens) for one in prompts], batch_tokens):
                batch = [prompts[row] for row in rows]
                answers = self._free(batch) if mode == "free" else self._constrained(batch)
                for row, one in zip(rows, answers, strict=True):
                    found[row] = replace(one, case_id=cases[row].case_id)
                advance(len(rows))
        return [found[row] for row in range(len(cases))]

    def _free(self, prompts: Sequence[Prompt]) -> Iterator[Prediction]:
        session = Session(self.model, self.prefix, len(prompts))
        session.feed([one.tokens for one in prompts])
        written: list[Tokens] = [[] for _ in prompts]
        done = [False] * len(prompts)
        for _ in range(self.config.tokens):
            best = session.logits.argmax(1).tolist()
            done = [was or token == self.prompter.end for was, token in zip(done, best, strict=True)]
            if all(done):
                break
            for row, token in enumerate(best):
                if not done[row]:
                    written[row].append(token)
            session.feed([[] if done[row] else [token] for row, token in enumerate(best)])
        for prompt, tokens in zip(prompts, written, strict=True):
            yield Prediction("", self.prompter.decode(tokens), None, {}, prompt.cut)

    def _constrained(self, prompts: Sequence[Prompt]) -> Iterator[Prediction]:
        slots = self.prompter.grammar.slots
        session = Session(self.model, self.prefix, len(prompts))
        session.feed([[*one.tokens, *self.prompter.opening(0)] for one in prompts])
        found: list[Decided] = []
        for place, slot in enumerate(slots):
            last = place + 1 == len(slots)
            closing = [self.prompter.end] if last else self.prompter.opening(place + 1)
            found.append(self._decide(session, slot, closing, place == 0, last))
        for row, prompt in enumerate(prompts):
            answer = {slot.name: one.labels[row] for slot, one in zip(slots, found, strict=True)}
            logprobs = {slot.name: one.logprobs[row] for slot, one in zip(slots, found, strict=True) if slot.labels}
            yield Prediction("", self.prompter.grammar.write(answer), answer, logprobs, prompt.cut)

    def _decide(self, session: Session, slot: Slot, closing: Tokens, first: bool, last: bool) -> Decided:
        if slot.kind == "set":
            return choose_set(session, self.prompter, slot, closing)
        if slot.kind == "text":
            return choose_text(session, self.prompter, closing, self._line_breaks(), self.config.reason_tokens)
        threshold = self.threshold if first and len(slot.labels) == 2 else None
        decided = choose_one(session, self.prompter, slot, closing, threshold)
        if not last:
            session.feed(decided.tokens)
        return decided

    def _line_breaks(self) -> torch.Tensor:
        """Tokens that no line of an answer holds: line breaks and markup, bool (V,)."""
        if self._banned is None:
            tokenizer = self.prompter.tokenizer
            size = self.model.get_output_embeddings().weight.shape[0]
            known = min(size, len(tokenizer))
            texts = tokenizer.batch_decode([[token] for token in range(known)], skip_special_tokens=False)
            banned = [any(mark in text for mark in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029") for text in texts]
            self._banned = torch.tensor(banned + [True] * (size - known), device=self.model.device)
            self._banned[[token for token in tokenizer.all_special_ids if token < size]] = True
        return self._banned


def threshold_of(predictions: Sequence[Prediction], cases: Sequence[Case], slot: Slot) -> float | None:
    """The probability of the second label above which it is chosen (see `best_threshold`); None where the cases don't
    have both labels, as nothing can be chosen by them."""
    positive = slot.labels[1]
    truth = np.array([case.answer[slot.name] == (positive,) for case in cases], dtype=bool)
    if truth.all() or not truth.any():
        return None
    scores = np.array([math.exp(one.logprobs[slot.name][positive]) for one in predictions])
    return best_threshold(scores, truth)[1]
