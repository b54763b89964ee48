"""The decoders of `decoders.py`: untuned with no and with a few examples in the prompt, and tuned with an adapter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import yaml

from logfm.artifacts import digest, write_atomic
from logfm.configs.base import find, parse, read_yaml, recipes
from logfm.configs.schema.cases import CasesConfig
from logfm.configs.schema.decoder import DecoderConfig
from logfm.evaluation.decoders.generating import Decoder, Predictor, reached
from logfm.evaluation.decoders.guesses import Fold
from logfm.evaluation.decoders.limiting import sampled
from logfm.evaluation.decoders.running import fold_hash
from logfm.finetune.decoder.head import HEAD, DecoderHead, copy_of, template_of
from logfm.finetune.decoder.labelling import grammar_of
from logfm.finetune.decoder.models import Base, open_base

SHOTS = 3
"""Examples in the prompt of the few-shot runs."""
SHOT_TOKENS = 280
"""What an example in the prompt needs: they must not take the place of the case."""
TRAINING = 2
"""Another number where training makes something else of the same cases: heads and cells of before are left."""
SEEN = 100
"""Training cases that a tuned head is asked about."""
FIGURES = "training.json"
RECIPES = {"text": "tram"}
"""Tasks whose recipe has another name."""


@dataclass(frozen=True)
class Models:
    """A base, opened once, and what is made of it. `folder` takes the heads that were trained."""

    config: DecoderConfig
    folder: Path

    @cached_property
    def base(self) -> Base:
        """The base as it is."""
        return open_base(self.config.decoder)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.base.tokenizer.tokenize(text))

    def contestants(self, untuned: bool = True, free: bool = True) -> list[Decoder]:
        """Tuned, and with `untuned` zero-shot and few-shot; `free` lets them answer without the grammar, too."""
        context = self.config.prompt.context + SHOTS * SHOT_TOKENS
        prompt = self.config.prompt.model_copy(update={"shots": SHOTS, "context": context})
        few = self.config.model_copy(update={"prompt": prompt})
        found = [Decoder("tuned", self.tuned, self._about(self.config, tuned=True), free)]
        if untuned:
            found.append(Decoder("zero-shot", self._untuned(self.config), self._about(self.config), free))
            found.append(Decoder("few-shot", self._untuned(few), self._about(few), free))
        return found

    def tuned(self, fold: Fold, seed: int) -> Predictor:
        """A head that was trained on the fold; the one of its folder, if it is there. A killed training goes on.

        The training's figures, and what the head is worth on some of its training cases, are told: by the worth one
        sees whether it learnt too little or only what it was shown.
        """
        grammar = grammar_of(fold.train, self.config.data.task)
        content = fold_hash(Fold("", grammar, fold.train, (), ()))
        folder = self.folder / digest({"train": content, "seed": seed, **self._about(self.config, tuned=True)})[:32]
        if (folder / HEAD).is_file():
            head = DecoderHead.load(folder, copy_of(self.base))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            config = self.config.model_copy(update={"seed": seed})
            head, figures = DecoderHead.fit(config, grammar, fold.train, (), folder, copy_of(self.base))
            write_atomic(folder / FIGURES, orjson.dumps(_shown(figures)))
        # Without them it was killed just before they were written.
        fold.told["training"] = orjson.loads((folder / FIGURES).read_bytes()) if (folder / FIGURES).is_file() else {}
        seen = sampled(fold.train, SEEN, seed)
        fold.told["train"] = reached(fold.grammar, seen, head.predict(seen, "constrained"))
        return head

    def _untuned(self, config: DecoderConfig) -> Callable[[Fold, int], Predictor]:
        def prepare(fold: Fold, seed: int) -> Predictor:
            return DecoderHead.untuned(config, grammar_of(fold.train, config.data.task), fold.train, self.base)

        return prepare

    def _about(self, config: DecoderConfig, tuned: bool = False) -> dict[str, Any]:
        parts = ("decoder", "prompt", "decoding", *(("lora", "training") if tuned else ()))
        found = {name: config.dump()[name] for name in parts} | {"template": digest(asdict(template_of(config)))}
        return found | ({"version": TRAINING} if tuned else {})


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    """A training's figures with the means of its first and its last losses, a tenth each, instead of all of them."""
    losses = figures["losses"]
    tenth = -(-len(losses) // 10)
    ends = [round(sum(part) / len(part), 4) for part in (losses[:tenth], losses[-tenth:])]
    return {**figures, "losses": ends}


def decoders(data: CasesConfig, folder: Path, settings: Sequence[str] = ()) -> Models:
    """The decoders of a task: the recipe's model, adapter, training and prompt, with `settings` (`KEY=VALUE`) put in.

    Thresholds are not the head's own: all contestants get theirs in the same way.

    Raises:
        UserError: a setting that there is not.
    """
    name = f"finetune/{RECIPES.get(data.task, data.task)}"
    document = read_yaml(find(name)) if name in recipes() else {}
    document |= {"data": data.dump(), "out": str(folder)}
    for setting in settings:
        key, _, value = setting.partition("=")
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(value)
    document.setdefault("decoding", {})["threshold"] = "none"
    return Models(parse(DecoderConfig, document, name), folder)
