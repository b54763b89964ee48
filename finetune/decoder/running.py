"""The stage that makes a decoder head: cases and a language model in, an adapter with its figures out."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from logfm.artifacts import Manifest, digest, file_hash, finished, partial_folder, produce, read_manifest, stage_key
from logfm.configs import find
from logfm.configs.schema.cases import CapturesSource, CaseSource, EventsSource
from logfm.configs.schema.decoder import DecoderConfig
from logfm.console import say
from logfm.embeddings.embed import check_place, input_hashes
from logfm.errors import UserError
from logfm.finetune.decoder.answers import NONE, Answer, Case, Grammar
from logfm.finetune.decoder.attack import load_attack
from logfm.finetune.decoder.cases import cases
from logfm.finetune.decoder.generating import Prediction
from logfm.finetune.decoder.head import ADAPTER, HEAD, STAGE, DecoderHead, template_of
from logfm.finetune.decoder.labelling import grammar_of
from logfm.finetune.decoder.models import base_hash, open_base
from logfm.finetune.decoder.scoring import answer_figures, ceiling, sets_seen
from logfm.finetune.decoder.splits import CaseSplit, split
from logfm.finetune.decoder.written import write_predictions

PREDICTIONS = "predictions.parquet"


def finetune_decoder(config: DecoderConfig) -> Manifest:
    """Train a decoder head and write it with its figures; a finished `out` is left as it is, a killed run goes on.

    The folder holds `decoder.json`, the adapter in peft's format, the predictions of the test cases with what the
    model wrote, and a manifest whose metrics are those of validation and test, beside a majority guess.

    Raises:
        UserError: a mistake in the data (see `cases`, `split`), the model or the training, or `out` is taken.
    """
    check_place(config.out, [path for source in config.data.sources for path in source.input])
    hashes = inputs_of(config)
    document = config.dump() | {"out": None}
    if done := finished(config.out, stage_key(STAGE, document, config.seed, hashes)):
        return done
    base = open_base(config.decoder)
    found = cases(config.data, config.seed, lambda text: len(base.tokenizer.tokenize(text)))
    parts = split(found, config.split.fold, config.split.folds)
    grammar = grammar_of(parts.train, config.data.task)
    _tell(found.counts, parts, grammar.slots[0].name)
    with produce(config.out, stage=STAGE, config=document, inputs=hashes, seed=config.seed, resumable=True) as work:
        try:
            head, figures = DecoderHead.fit(config, grammar, parts.train, parts.validation, work.path, base)
            work.metrics.update({"left_out": dict(found.counts), "training": figures})
            work.metrics.update(_measured(head, parts, found.grammar, work.path))
        except UserError:
            # The same command would fail again, and another must not find this in its way.
            shutil.rmtree(partial_folder(config.out), ignore_errors=True)
            raise
        _tidy(work.path)
    return read_manifest(config.out, STAGE)


def judge(predictions: Sequence[Prediction], given: Sequence[Case], grammar: Grammar) -> dict[str, float]:
    """Every metric of constrained answers, by slot (see `answer_figures`); nan, where one is undefined, is left out.

    The grammar has to have all labels of the cases.
    """
    figures = answer_figures(given, [one.answer for one in predictions], grammar)
    return {name: round(float(value[0]), 4) for name, value in figures.items() if value[0] == value[0]}


def _measured(head: DecoderHead, parts: CaseSplit, grammar: Grammar, folder: Path) -> dict[str, Any]:
    """Figures of validation and test under the grammar, beside those of the commonest training answer.

    `grammar` has all labels: test may have some that training, and so the head, doesn't.
    """
    found: dict[str, Any] = {"base": {"name": head.base.name, "hash": head.base_hash}, "threshold": head.threshold}
    found["cases"] = {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}
    found["removed_copies"] = parts.removed
    slots = [slot.name for slot in grammar.slots if slot.kind != "text"]
    found["exact_match_ceiling"] = round(ceiling(parts.train, parts.test, *slots), 4)
    found["answers_seen"] = round(sets_seen(parts.train, parts.test, *slots), 4)
    guess = Counter(_key(case.answer) for case in parts.train).most_common(1)[0][0]
    for name, given in (("validation", parts.validation), ("test", parts.test)):
        predictions = head.predict(given, "constrained")
        found[name] = judge(predictions, given, grammar)
        found[name]["cut"] = sum(one.cut > 0 for one in predictions)
        majority = [Prediction(case.case_id, "", dict(guess), {}) for case in given]
        found[f"{name}_majority"] = judge(majority, given, grammar)
        if name == "test":
            write_predictions(predictions, given, folder / PREDICTIONS)
    return found


def _key(answer: Answer) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted(answer.items()))


def _tidy(folder: Path) -> None:
    """Only what a finished head needs stays."""
    kept = {ADAPTER, HEAD, PREDICTIONS}
    for path in folder.iterdir():
        if path.name not in kept and path.name != "key":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def inputs_of(config: DecoderConfig) -> dict[str, str]:
    """Hashes of all that a head is made from beside its configuration: data and their labels, what writes and prompts
    cases, the base.

    Raises:
        UserError: something of it is missing.
    """
    hashes: dict[str, str] = {}
    for source in config.data.sources:
        found = {f"{source.name} {path}": one for path, one in input_hashes(source.input).items()}
        hashes |= found
        for name, path in _beside(source):
            hashes |= {f"{source.name} {name}": digest(input_hashes([path]))}
    hashes["attack"] = (
        load_attack(config.data.attack).digest
        if config.data.attack.path is None
        else digest(input_hashes([config.data.attack.path]))
    )
    hashes["template"] = digest(asdict(template_of(config)))
    hashes["threats"] = file_hash(find(config.data.threats))
    hashes["fields"] = digest([file_hash(find(one)) for one in config.data.writing.fields])
    hashes["base"] = base_hash(config.decoder)
    return hashes


def _beside(source: CaseSource) -> Iterator[tuple[str, Path]]:
    """What a source reads beside its input."""
    if isinstance(source, EventsSource | CapturesSource) and source.labels is not None:
        yield "labels", source.labels
    if isinstance(source, CapturesSource) and source.sigma is not None:
        yield "rules", source.sigma.rules


def _tell(counts: Mapping[str, int], parts: CaseSplit, name: str) -> None:
    for part in ("train", "validation", "test"):
        given: Sequence[Case] = getattr(parts, part)
        common = Counter(", ".join(case.answer[name]) or NONE for case in given).most_common(5)
        groups = len({case.group for case in given})
        say(f"{part}: {len(given)} cases of {groups} groups ({', '.join(f'{n} {label}' for label, n in common)})")
    for why, count in counts.items():
        say(f"left out: {count} {why}" if "cut" not in why else f"{why}: {count}")
    if parts.removed:
        say(f"left out: {parts.removed} positives that a test case is like but for its values")
