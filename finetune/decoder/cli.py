"""What `logfm finetune` and `logfm classify` do where a decoder head is meant."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logfm.configs import load
from logfm.configs.schema.decoder import DecoderConfig
from logfm.console import emit_json, markup_safe, say, stdout
from logfm.errors import UserError
from logfm.extras import require

if TYPE_CHECKING:
    from logfm.finetune.decoder.answers import Case, Grammar
    from logfm.finetune.decoder.generating import Prediction

_TEXT = 300


def train(source: str, overrides: Sequence[str], as_json: bool) -> None:
    """Train the decoder head of a configuration, and show its figures on test."""
    resolved = load(DecoderConfig, source, overrides)
    _needed()
    from logfm.finetune.decoder.running import finetune_decoder

    metrics = finetune_decoder(resolved).metrics
    if as_json:
        emit_json({"out": str(resolved.out), **metrics})
        return
    table = _table("metric", "test", "majority guess", "validation")
    for name in metrics["test"]:
        columns = ("test", "test_majority", "validation")
        table.add_row(name, *(str(metrics[column].get(name, "")) for column in columns))
    stdout.print(table)
    say(
        f"exact match can't exceed {metrics['exact_match_ceiling']}: the other cases have a label that training lacks; "
        f"{metrics['answers_seen']} have an answer that training has"
    )
    say(f"head: {resolved.out}")


def write_merged(folder: Path, out: Path) -> None:
    """Write a head's language model with the adapter in it."""
    _needed()
    from logfm.finetune.decoder.head import merge

    merge(folder, out)


def answer(inputs: Sequence[str], folder: Path, mode: str, top: int, as_json: bool, product: str | None = None) -> None:
    """Classify an input with a decoder head, the most suspicious first where it gives a verdict.

    Free answers are read tolerantly; of one that can't be read it is told why.
    """
    if mode not in ("constrained", "free"):
        raise UserError("--mode is constrained or free", mode)
    _needed()
    from logfm.finetune.decoder.head import DecoderHead
    from logfm.finetune.decoder.parsing import parse
    from logfm.finetune.decoder.unlabelled import unlabelled

    head = DecoderHead.load(folder)
    count = head.prompter().plain
    given = unlabelled(inputs, head.config.data, head.config.seed, lambda text: len(count(text)), product)
    found = head.predict(given, "free" if mode == "free" else "constrained")
    reasons = [""] * len(found)
    if mode == "free":
        parsed = [parse(one.raw, head.grammar, "tolerant") for one in found]
        found = [replace(one, answer=read.answer) for one, read in zip(found, parsed, strict=True)]
        reasons = [read.reason for read in parsed]
    scores = [_score(one, head.grammar) for one in found]
    order = sorted(range(len(given)), key=lambda row: (-(scores[row] or 0.0), row))
    if as_json:
        rows = [_row(given[row], found[row], scores[row]) | {"unreadable": reasons[row]} for row in order]
        emit_json({"threshold": head.threshold, "mode": mode, "answers": rows})
        return
    table = _table("score", "answer", "case")
    for row in order[:top]:
        text = " ".join(given[row].text.split())
        shown = markup_safe(text if len(text) <= _TEXT else f"{text[:_TEXT]}…")
        place = markup_safe(f"{given[row].group} · {given[row].event_ids[0]}")
        score = scores[row]
        table.add_row(
            "" if score is None else f"{score:.4f}", markup_safe(found[row].raw.strip()), f"{shown}\n[dim]{place}[/dim]"
        )
    stdout.print(table)
    say(f"{len(given)} cases answered" + ("" if len(given) <= top else f", {top} shown"))
    if unread := sum(map(bool, reasons)):
        say(f"{unread} answers can't be read: {', '.join(sorted(set(filter(None, reasons))))}")
    if cut := sum(one.cut > 0 for one in found):
        say(f"{cut} cases were longer than the head reads: it read their beginnings")
    if short := sum(case.left_out > 0 for case in given):
        say(f"of {short} cases long fields were shortened: {sum(case.left_out for case in given)} characters left out")


def _score(one: "Prediction", grammar: "Grammar") -> float | None:
    """The probability of the second of two labels."""
    slot = grammar.slots[0]
    logprobs = one.logprobs.get(slot.name)
    return math.exp(logprobs[slot.labels[1]]) if logprobs and slot.kind == "one" and len(slot.labels) == 2 else None


def _row(case: "Case", one: "Prediction", score: float | None) -> dict[str, Any]:
    found = asdict(one) | {"group": case.group, "event_ids": list(case.event_ids), "score": score}
    found["probabilities"] = {
        name: {label: round(math.exp(value), 6) for label, value in labels.items()}
        for name, labels in found.pop("logprobs").items()
    }
    return found | {"text": case.text, "left_out": case.left_out}


def _needed() -> None:
    require("torch", "embed")
    require("transformers", "decoder")
    require("peft", "decoder")
    require("lightning", "decoder")


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        words = column in ("metric", "answer", "case")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table
