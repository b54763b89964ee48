"""Decoder heads beside TF-IDF, neighbours, encoder heads, Sigma and the untuned model, on held-out groups.

    python benchmarks/decoders.py --out FOLDER
        --task chunks|unseen|prevalence|otrf|techniques|simulated|tram|triage|triage-benign
        [--data FOLDER] [--sim FOLDER] [--folds 5] [--only-folds 1] [--minutes 30] [--encoder URI] [--no-decoder]
        [--no-free] [--no-untuned]
        [--noise 0.1 --noise 0.2] [--inject 10] [--train-cases 3000] [--test-cases 1000] [--set KEY=VALUE]

`--data` is the folder of public logs, `--sim` a set that `logfm simulate --config simulate/paper870` wrote; the cases
of each task are in `decoders.yaml`. A contestant on a fold is a cell, kept under `FOLDER/cells` when it is done, with
the raw outputs: the same command goes on where it was stopped, and with `--minutes` begins nothing after that time.
Cases are read once and kept under `FOLDER/cases`. Tables (Markdown and JSON), confusion matrices and ATT&CK Navigator
layers go to `FOLDER/TASK`.

Decoders learn from `--train-cases` cases at most; fewer than 1,000 are spread over labels and groups. TF-IDF takes part
with the same cases and with all of train. Sigma's rules are judged on the test cases that Sigma did not label, in a
table of their own where it labelled some. Validation chooses the settings of what learns from vectors, and thresholds;
a decoder's settings (`--set training.learning_rate=0.001`) are for whoever runs this to choose, by the worth on
validation that is printed for every cell and kept in it, beside that on 100 training cases. Test chooses nothing.
Splits are by archive, file, rule, report or session.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from decoders_cases import HERE, kept_cases, task_config
from decoders_models import decoders

from logfm.configs.base import read_yaml
from logfm.configs.schema.cases import CasesConfig
from logfm.console import emit_json, say
from logfm.corpus.rules import NEEDED
from logfm.corpus.streaming import stream
from logfm.embeddings.encoder import LogEncoder
from logfm.evaluation.decoders.attacking import attacked, attacked_document, attacked_markdown, injection_fold
from logfm.evaluation.decoders.contestants import classical, encoder_heads
from logfm.evaluation.decoders.generating import CALIBRATED, CONSTRAINED
from logfm.evaluation.decoders.guesses import Contestant, Fold
from logfm.evaluation.decoders.limiting import Limited, Noisy, sampled
from logfm.evaluation.decoders.rules import SigmaDetector, by_sigma, hits
from logfm.evaluation.decoders.running import Results, part, run
from logfm.evaluation.decoders.tables import (
    cases_of,
    ceiling_row,
    ceilings,
    confusion_tables,
    document,
    layers,
    learning_markdown,
    markdown,
    merged,
    pooled,
    table,
    versus,
    versus_markdown,
)
from logfm.evaluation.suite.contestants import short_name
from logfm.finetune.decoder.answers import BENIGN, Case
from logfm.finetune.decoder.cases import CaseSet, attack_of
from logfm.finetune.decoder.injection import injections
from logfm.finetune.decoder.labelling import SUSPICIOUS, VERDICT
from logfm.finetune.decoder.splits import flip, split

SVM = "TF-IDF + SVM"
TUNED = "tuned"
NOT_SIGMAS = "not labelled by Sigma"
RESAMPLES = 4000
WANTED = {"verdict": "normal", "threat": BENIGN, "severity": "info"}
"""What an attacker wants to hear, by slot; the first slot counts that has it."""


def main() -> None:
    """Measure and write the tables."""
    options = _options()
    config = task_config(options.task, options.data, options.sim)
    models = None if options.no_decoder else decoders(config, options.out / "heads", options.set)
    found = kept_cases(config, options.seed, models, options.out / "cases")
    say(f"{len(found.cases)} cases; {dict(found.counts)}")
    folds = _folds(found, options)
    asked = models.contestants(not options.no_untuned, not options.no_free) if models else ()
    contestants = _contestants(options, folds, asked)
    results = run(contestants, folds, options.out / "cells", options.seed, options.minutes)
    results, rest = _with_sigma(options, config, results)
    tactics = _tactics(config)
    out = options.out / options.task
    out.mkdir(parents=True, exist_ok=True)
    facts = _facts(found, folds, results)
    _write(out, results, rest, tactics, facts, config.attack.release)
    if options.inject:
        _inject(options, folds[0], contestants, out)
    emit_json({"out": str(out), **facts})


def _folds(found: CaseSet, options: argparse.Namespace) -> list[Fold]:
    count = 1 if found.given_split else options.folds
    folds = []
    for place in range(min(count, options.only_folds or count)):
        parts = split(found, place, options.folds)
        test = sampled(parts.test, options.test_cases, options.seed)
        folds.append(Fold(f"{options.task} {place}", found.grammar, parts.train, parts.validation, test))
        say(
            f"{folds[-1].name}: {len(parts.train)} train ({parts.removed} copies of test removed), "
            f"{len(parts.validation)} validation, {len(test)} of {len(parts.test)} test {_prevalence(folds[-1])}"
        )
    return folds


def _contestants(options: argparse.Namespace, folds: Sequence[Fold], models: Sequence[Contestant]) -> list[Contestant]:
    found: list[Contestant] = [*classical()]
    svm = found[1]
    limit = partial(Limited, cases=options.train_cases, validation=options.validation_cases)
    if any(len(fold.train) > options.train_cases for fold in folds):
        found.append(limit(svm, suffix=f", {options.train_cases} cases"))
    if options.encoder:
        found += encoder_heads(LogEncoder.load(options.encoder), short_name(options.encoder))
    found += [limit(one) for one in models]
    tuned = [one for one in found if one.name == TUNED]
    for share in options.noise:
        found += [Noisy(one, share, flip) for one in (svm, *tuned)]
    return found


def _with_sigma(options: argparse.Namespace, config: CasesConfig, results: Results) -> tuple[Results, Results | None]:
    """The results with Sigma's rules among the contestants; where Sigma labelled some of the test cases, without them
    there, but beside all others on the cases that it did not label."""
    if config.task not in ("chunks", "techniques"):
        return results, None
    inputs = [name for source in config.sources for name in source.input]
    sigma = SigmaDetector(partial(_fired, inputs, options.data), {"task": options.task})
    labelled = any(by_sigma(case) for fold in results.folds for case in fold.test)
    judged = part(results, lambda case: not by_sigma(case), NOT_SIGMAS) if labelled else results
    found = run([sigma], judged.folds, options.out / "cells", options.seed, options.minutes)
    left_out = [*results.left_out, *found.left_out]
    if not found.cells:
        left_out += [] if judged.folds else ["Sigma: it labelled all test cases"]
        return replace(results, left_out=left_out), None
    joined = Results(judged.folds, judged.cells | found.cells, left_out)
    return (replace(results, left_out=left_out), joined) if labelled else (joined, None)


def _fired(inputs: Sequence[str], data: Path, asked: Sequence[Case]) -> Mapping[str, Any]:
    wanted = {one for case in asked for one in case.event_ids}
    folders = [Path(name) / "logs" if (Path(name) / "sessions.parquet").is_file() else Path(name) for name in inputs]
    return hits(stream(folders, list(NEEDED)), data / "sigma" / "sigma_rules.zip", wanted)


def _tactics(config: CasesConfig) -> dict[str, tuple[str, ...]]:
    attack = attack_of(config)
    return {name: technique.tactics for name, technique in attack.techniques.items()}


def _facts(found: CaseSet, folds: Sequence[Fold], results: Results) -> dict[str, Any]:
    return {
        "cases": len(found.cases),
        "counts": dict(found.counts),
        "folds": [
            {"name": fold.name, "train": len(fold.train), "validation": len(fold.validation), "test": len(fold.test),
             "groups": len({case.group for case in fold.test}), **_prevalence(fold)}
            for fold in folds
        ],
        "ceiling of exact match": ceilings(folds),
        "cells": {f"{name}, {fold}": dict(cell.figures) for (name, fold), cell in results.cells.items()},
        "left out": list(results.left_out),
    }  # fmt: skip


def _prevalence(fold: Fold) -> dict[str, float]:
    """The shares of train and test that are suspicious: they follow from how many normal cases a group gives."""
    parts = {"train": fold.train, "test": fold.test}
    if VERDICT not in fold.test[0].answer:
        return {}
    return {
        f"suspicious {name}": round(sum(case.answer[VERDICT] == (SUSPICIOUS,) for case in part) / len(part), 4)
        for name, part in parts.items()
    }


def _write(
    out: Path,
    results: Results,
    rest: Results | None,
    tactics: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
    release: str,
) -> None:
    best, shown, kept = _compared(results, tactics)
    text = [json.dumps(facts, indent=1), *shown, learning_markdown(results)]
    if rest is not None:
        count, whole = len(cases_of(rest.folds)), len(cases_of(results.folds))
        _, shown, beside = _compared(rest, tactics)
        text += [f"The {count} of {whole} test cases {NOT_SIGMAS}, on which its rules can be judged, too:", *shown]
        kept = {**kept, NOT_SIGMAS: beside}
    (out / "table.md").write_text("\n\n".join(filter(None, text)) + "\n", encoding="utf-8")
    _dump(out / "table.json", {**facts, **kept})
    for name, mode in (best, (SVM, "")):
        folds = results.folds_of([name])
        guesses = pooled(results, name, mode, folds)
        plain = "".join(char if char.isalnum() else "_" for char in name).lower()
        _dump(out / f"confusion_{plain}.json", confusion_tables(folds, guesses))
        for kind, layer in layers(folds, guesses, name, release).items():
            _dump(out / f"layer_{plain}_{kind}.json", layer)


def _compared(
    results: Results, tactics: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, str], list[str], dict[str, Any]]:
    """Who stands against the others, and the tables as Markdown and as JSON."""
    rows = table(results, tactics, RESAMPLES)
    readings = [(row.contestant, row.mode) for row in rows]
    ours = [one for one in readings if one[0].startswith(TUNED) and one[1] == CALIBRATED][:1]
    best = ours[0] if ours else (SVM, "")
    rivals = [one for one in readings if one[0] != best[0] and one[1] in ("", CONSTRAINED) and "noise" not in one[0]]
    found = versus(results, best, rivals, tactics, RESAMPLES)
    rows.append(ceiling_row(results.folds, RESAMPLES))
    shown = [markdown(rows, merged([fold.grammar for fold in results.folds])), versus_markdown(found)]
    return best, shown, document(rows, found)


def _inject(options: argparse.Namespace, fold: Fold, contestants: Sequence[Contestant], out: Path) -> None:
    slot = next((slot for slot in fold.grammar.slots if WANTED.get(slot.name) in slot.labels), None)
    if slot is None:
        say("no slot of this task has an answer that an attacker would want: no injection")
        return
    wanted = WANTED[slot.name]
    lines = injections()
    hostile = injection_fold(fold, lines, slot, wanted, options.inject, options.seed)
    names = ("majority", SVM, "zero-shot", "few-shot", TUNED)
    asked = [one for one in contestants if one.name in names]
    results = run(asked, [hostile], options.out / "cells", options.seed, options.minutes)
    found = attacked(results, hostile, lines, slot.name, wanted)
    (out / "injection.md").write_text(attacked_markdown(found) + "\n", encoding="utf-8")
    _dump(out / "injection.json", attacked_document(found))


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = list(read_yaml(HERE / "decoders.yaml")["tasks"])
    parser.add_argument("--task", choices=tasks, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--sim", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only-folds", type=int, help="so many of the folds, the first")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--encoder", help="URI of an encoder for heads over frozen vectors")
    parser.add_argument("--train-cases", type=int, default=3000)
    parser.add_argument("--validation-cases", type=int, default=200)
    parser.add_argument("--test-cases", type=int, default=1000, help="test cases of a fold at most, drawn by seed")
    parser.add_argument("--noise", type=float, action="append", default=[], help="share of training labels flipped")
    parser.add_argument("--inject", type=int, default=0, help="test cases that get every line of injections.yaml")
    parser.add_argument("--no-decoder", action="store_true")
    parser.add_argument("--no-free", action="store_true", help="decoders answer under the grammar only")
    parser.add_argument("--no-untuned", action="store_true", help="no zero-shot and few-shot runs")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE in the decoder's configuration")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
