"""A decoder head: a language model, an adapter or none, a prompt and a grammar, which together answer about cases."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from logfm.artifacts import MANIFEST, file_hash, finished, produce, read_manifest, stage_key, write_atomic
from logfm.configs.base import parse
from logfm.configs.schema.decoder import DecoderConfig
from logfm.errors import UserError
from logfm.extras import require
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.generating import Generator, Mode, Prediction, threshold_of
from logfm.finetune.decoder.models import Base, open_base, tell_template
from logfm.finetune.decoder.packing import examples
from logfm.finetune.decoder.prompting import Prompter, Template, choose_shots, read_template, shortened

STAGE = "decoder"
_MERGED = "merged"
ADAPTER = "adapter"
HEAD = "decoder.json"
_SHOT_TOKENS = 200


@dataclass(frozen=True)
class DecoderHead:
    """Answers about cases, under a grammar or freely."""

    config: DecoderConfig
    base: Base
    """With the adapter merged into it, where there is one."""
    grammar: Grammar
    template: Template
    """What the model was prompted with, whatever its file says now."""
    shots: tuple[Case, ...] = ()
    threshold: float | None = None
    """Where the first slot has two labels: the probability of the second above which it is chosen."""
    base_hash: str = ""
    """Of the base that the adapter was trained over."""

    @classmethod
    def untuned(
        cls, config: DecoderConfig, grammar: Grammar, train: Sequence[Case] = (), base: Base | None = None
    ) -> "DecoderHead":
        """The base as it is: zero-shot, or with `config.prompt.shots` of the training cases in its prompt."""
        base = base or open_base(config.decoder)
        bare = cls(config, base, grammar, template_of(config), base_hash=base.hash)
        prompter = bare.prompter()
        shots = choose_shots(train, grammar, config.prompt.shots)
        return replace(bare, shots=tuple(shortened(one, prompter, _SHOT_TOKENS) for one in shots))

    @classmethod
    def fit(
        cls,
        config: DecoderConfig,
        grammar: Grammar,
        train: Sequence[Case],
        validation: Sequence[Case],
        folder: Path,
        base: Base | None = None,
    ) -> tuple["DecoderHead", dict[str, Any]]:
        """Train an adapter and write the head into `folder`; a killed training there goes on.

        `base` is changed: give a copy of one that is needed again. Returns the head and the training's figures.

        Raises:
            UserError: as `open_base`, `adapt`, `Prompter`, `train_adapter`.
        """
        require("peft", "decoder")
        require("lightning", "decoder")
        if not train:
            raise UserError("no case to train on")
        from logfm.finetune.decoder.adapters import adapt, save_adapter
        from logfm.finetune.decoder.training import train_adapter

        start = cls.untuned(config, grammar, train, base)
        prompter = start.prompter()
        # A shot's own answer stands in the prompt: nothing is learnt from it.
        shown = {shot.case_id for shot in start.shots}
        given, cut = examples([case for case in train if case.case_id not in shown], prompter, config.training)
        if not given:
            raise UserError("all training cases are shots in the prompt", fix="Lower prompt.shots.")
        model = adapt(start.base, config.lora, config.seed)
        pad = prompter.end
        figures = train_adapter(model, prompter.prefix, given, config.training, pad, config.seed, folder)
        lengths = [len(one.tokens) for one in given]
        figures |= {"cut_in_training": cut, "prefix_tokens": len(prompter.prefix), "tokens": sum(lengths)}
        figures |= {"longest": max(lengths)}
        save_adapter(model, folder / ADAPTER)
        base = replace(start.base, model=model.merge_and_unload() if config.decoder.quantised == "none" else model)
        base.model.eval().requires_grad_(False)
        head = replace(start, base=base)
        slot = grammar.slots[0]
        if validation and slot.kind == "one" and len(slot.labels) == 2 and config.decoding.threshold == "validation":
            found = head.predict(validation, "constrained")
            head = replace(head, threshold=threshold_of(found, validation, slot))
            figures["threshold"] = head.threshold
        head.save(folder)
        return head, figures

    @classmethod
    def load(cls, folder: Path, base: Base | None = None, quantised: bool = True) -> "DecoderHead":
        """Open the head of a folder that `logfm finetune` wrote. `base` stands for the one that it names, and
        is changed.

        Raises:
            UserError: no head, a damaged one, or another base than the adapter belongs to.
        """
        from logfm.finetune.decoder.adapters import open_adapter

        require("peft", "decoder")
        try:
            kept = orjson.loads((folder / HEAD).read_bytes())
            grammar = Grammar(tuple(Slot(**one | {"labels": tuple(one["labels"])}) for one in kept["grammar"]))
            template = Template(**kept["template"])
            shots = tuple(_case(one) for one in kept["shots"])
            config, threshold, known = kept["config"], kept["threshold"], kept["base_hash"]
        except FileNotFoundError:
            raise UserError(f"no decoder head (no {HEAD})", folder) from None
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError("damaged decoder head", folder / HEAD, "Train it again.") from error
        resolved = parse(DecoderConfig, config, folder / HEAD)
        decoder = resolved.decoder if quantised else resolved.decoder.model_copy(update={"quantised": "none"})
        opened = open_adapter(base or open_base(decoder), folder / ADAPTER, known)
        return cls(resolved, opened, grammar, template, shots, threshold, known)

    def save(self, folder: Path) -> None:
        """Write what the head is but for its adapter."""
        document = {
            "config": self.config.dump(),
            "base_hash": self.base_hash,
            "grammar": [asdict(slot) for slot in self.grammar.slots],
            "template": asdict(self.template),
            "shots": [asdict(shot) for shot in self.shots],
            "threshold": self.threshold,
        }
        write_atomic(folder / HEAD, orjson.dumps(document, option=orjson.OPT_INDENT_2))

    def predict(
        self, cases: Sequence[Case], mode: Mode | None = None, batch_tokens: int | None = None
    ) -> list[Prediction]:
        """Answers in the order of the cases; `mode` and `batch_tokens` are those of the configuration by default."""
        decoding = self.config.decoding
        generator = Generator(self.base.model, self.prompter(), decoding, self.threshold)
        return generator.predict(cases, mode or decoding.mode, batch_tokens or decoding.batch_tokens)

    def prompter(self) -> Prompter:
        """What writes cases for this head's model."""
        tell_template(self.base)
        context = min(self.config.prompt.context, self.base.context)
        reason = self.config.decoding.reason_tokens
        return Prompter(self.base.tokenizer, self.template, self.grammar, context, self.shots, reason)


def merge(folder: Path, out: Path, base: Base | None = None) -> None:
    """Write the base with the head's adapter merged into it, in Hugging Face's format, to be used without logfm.

    A finished `out` of the same head is left as it is.

    Raises:
        UserError: as `DecoderHead.load`, or `out` holds something else.
    """
    inputs = {path.name: file_hash(path) for path in sorted(folder.glob("*")) if path.is_file()}
    if finished(out, stage_key(_MERGED, {}, 0, inputs)):
        return
    head = DecoderHead.load(folder, base, quantised=False)
    with produce(out, stage=_MERGED, config={}, inputs=inputs) as work:
        if (folder / MANIFEST).is_file():
            work.licences.update(read_manifest(folder).licences)
        head.base.model.save_pretrained(work.path, safe_serialization=True)
        head.base.tokenizer.save_pretrained(work.path)


def copy_of(base: Base) -> Base:
    """A base of the same weights that may be changed."""
    return replace(base, model=copy.deepcopy(base.model))


def is_decoder(folder: Path) -> bool:
    """Whether a finished head is a decoder's.

    Raises:
        UserError: no finished artifact.
    """
    return read_manifest(folder).stage == STAGE


def template_of(config: DecoderConfig) -> Template:
    """The template that a configuration asks for.

    Raises:
        UserError: as `read_template`.
    """
    data = config.data
    named = "triage-benign" if data.task == "triage" and data.benign else data.task
    return read_template(config.prompt.template or named)


def _case(kept: dict[str, Any]) -> Case:
    answer = {name: tuple(labels) for name, labels in kept["answer"].items()}
    return Case(**{**kept, "answer": answer, "event_ids": tuple(kept["event_ids"])})
