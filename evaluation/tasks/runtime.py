"""Runtime: how fast are vectors made, by length of the text, and with how much memory?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.data.copies import firsts, sampled
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="runtime",
    title="How many tokens a minute and lines a second, and with how much memory?",
    paper="SecEncoder, section 4.3 and Table 7",
    split="None is needed: nothing is scored against labels.",
    leakage="None is possible. Vectors are made anew, not taken from what is kept.",
    main_score="lines_per_second",
    metrics={
        "lines_per_second": "higher",
        "tokens_per_minute": "neither",
        "p50_ms": "lower",
        "p99_ms": "lower",
        "peak_mb": "lower",
    },
    minutes=2,
    caps={"lines": 128, "single": 128},
    timed=True,
)
# Bytes of UTF-8: a length that does not depend on a tokenizer.
_BANDS = ((0, 128), (128, 512), (512, 2048), (2048, 1 << 62))
_LEAST = 10
_WARM_UP = 8
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure throughput of one call on many lines, overall and by length, and latency of calls on one line each.

    Tokens are those of the encoder's own tokenizer as far as it reads a text, else white-space words, so they do not
    compare encoders. TF-IDF is fitted on the lines before the clock starts. `peak_mb` is what the
    process needs at most while encoding above what it holds before, where the system tells (Linux).

    Raises:
        UserError: fewer than ten different lines.
    """
    rows = firsts(data.texts)
    if len(rows) < _LEAST:
        raise UserError(f"{len(rows)} different lines are too few to time", data.spec.name)
    most, single = int(options.get("lines", 256)), int(options.get("single", 256))
    lines = [data.texts[row] for row in rows]
    sizes = np.array([len(text.encode("utf-8", "replace")) for text in lines])
    fit_on = [lines[row] for row in sampled(np.arange(len(lines)), most, seed)]
    contestant.encode(fit_on[:_WARM_UP], fit_on)
    for low, high in ((0, 1 << 62), *_BANDS):
        whole = (low, high) == (0, 1 << 62)
        chosen = sampled(np.flatnonzero((sizes >= low) & (sizes < high)), most, seed)
        if len(chosen) < _LEAST:
            continue
        condition = "" if whole else f"{low} to {high} bytes" if high < 1 << 62 else f"{low} bytes and more"
        texts = [lines[row] for row in chosen]
        yield from _measure(contestant, texts, fit_on, condition)
        if whole:
            yield from _waits(contestant, [texts[row] for row in sampled(np.arange(len(texts)), single, seed)], fit_on)


def _measure(contestant: Contestant, texts: list[str], fit_on: list[str], condition: str) -> Iterator[Measurement]:
    before = _resident(reset=True)
    start = time.perf_counter()
    contestant.encode(texts, fit_on)
    seconds = time.perf_counter() - start
    after = _resident(reset=False)
    tokens, unit = _tokens(contestant, texts)
    values = {"lines_per_second": len(texts) / seconds, "tokens_per_minute": 60 * tokens / seconds}
    if before is not None and after is not None:
        values["peak_mb"] = max(0, after - before) / 1e6
    note = f"{tokens / len(texts):.0f} {unit} a line"
    for name, value in values.items():
        yield Measurement(name, value, count=len(texts), condition=condition, note=note)


def _waits(contestant: Contestant, texts: list[str], fit_on: list[str]) -> Iterator[Measurement]:
    """Milliseconds of calls on one line each."""
    waits = []
    for text in texts:
        start = time.perf_counter()
        contestant.encode([text], fit_on)
        waits.append(1000 * (time.perf_counter() - start))
    for share in (50, 99):
        yield Measurement(f"p{share}_ms", float(np.percentile(waits, share)), count=len(waits))


def _tokens(contestant: Contestant, texts: Sequence[str]) -> tuple[int, str]:
    """Tokens that the encoder reads of the texts, and what they are."""
    if contestant.pretrained is None:
        return sum(len(text.split()) for text in texts), "words"
    encoder = contestant.pretrained.pretrained
    return sum(min(len(ids), encoder.max_tokens) for ids in encoder.tokenizer.encode_batch(list(texts))), "tokens"


def _resident(reset: bool) -> int | None:
    """Largest resident memory of the process in bytes since the last reset, None where the system does not tell."""
    try:
        if reset:
            _RESET.write_text("5")
        status = _STATUS.read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if line is None else 1024 * int(line.split()[1])
