"""Tokens an event beside BERT's WordPiece (30,522) and SmolLM2's BPE (49,152), on Loghub and on JSON events.

    python -m benchmarks.tokenizer_rivals TOKENIZER --loghub DIR [--json-corpus CORPUS] --out rivals.csv

None of the Loghub systems may be in the tokenizer's training corpus, and the JSON events must be held out from it.
"""

import csv
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.tokenizer_data import SYSTEMS, loghub_lines
from logfm.console import say
from logfm.corpus.store import Corpus
from logfm.tokenizer import LogTokenizer
from logfm.tokenizer.rivals import Rival, installed, opened
from logfm.tokenizer.sampling import draw

GOLDEN = "sudo: root : TTY=unknown ; PWD=/ ; USER=root ; COMMAND=/bin/ip netns identify 4867"


def row(name: str, lines: list[str], tokenizer: LogTokenizer, rivals: list[Rival]) -> dict[str, object]:
    """Mean tokens of an event under each tokenizer, and ours over theirs."""
    ours = float(np.mean([len(ids) for ids in tokenizer.encode_batch(lines)]))
    found: dict[str, object] = {"set": name, "events": len(lines), "logfm": round(ours, 2)}
    for rival in rivals:
        theirs = float(rival.counts(lines).mean())
        found |= {rival.name: round(theirs, 2), f"ratio_{rival.name}": round(ours / theirs, 3)}
    return found


def main(
    tokenizer: Path,
    loghub: Annotated[Path, typer.Option(help="Folder loghub_2k.")],
    json_corpus: Annotated[Path | None, typer.Option(help="A corpus of JSON events that training did not see.")] = None,
    rival: Annotated[list[Path] | None, typer.Option(help="Another tokenizer.json.")] = None,
    out: Path = Path("rivals.csv"),
) -> None:
    """Write one row a system, and show the golden case of SecEncoder's Table 1."""
    ours = LogTokenizer.load(tokenizer)
    rivals = [*installed(), *(opened(path.stem, path) for path in rival or [])]
    rows = [row(system, loghub_lines(loghub, system), ours, rivals) for system in SYSTEMS]
    if json_corpus is not None:
        batches = draw(Corpus.open(json_corpus), 16 * 2**20, 0).batches()
        lines = [text for batch in batches for text in batch["text"].to_pylist()]
        rows.append(row("json", lines, ours, rivals))
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for found in rows:
        say(str(found))
    say(f"logfm: {ours.tokens(ours.encode_batch([GOLDEN])[0])}")
    for one in rivals:
        say(f"{one.name}: {one.backend.encode(GOLDEN, add_special_tokens=False).tokens}")


if __name__ == "__main__":
    typer.run(main)
