"""The command line: the rooms' commands under one name, and one line for every error."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from logfm import __version__
from logfm.console import say
from logfm.corpus.cli import app as corpus_app
from logfm.corpus.simulate.cli import simulate_command
from logfm.doctor import doctor_command
from logfm.embeddings.cli import (
    detect_command,
    embed_command,
    explain_command,
    index_app,
    patterns_command,
    search_command,
    serve_command,
    subsample_command,
)
from logfm.errors import LogfmError, UserError
from logfm.evaluation.cli import app as eval_app
from logfm.finetune.cli import classify_command, finetune_command, merge_command
from logfm.pretrain.cli import export_command, plan_command, pretrain_command
from logfm.quickstart.cli import quickstart_command
from logfm.tokenizer.cli import app as tokenizer_app

app = typer.Typer(
    name="logfm",
    help="Turn raw security logs into a pretrained encoder, and put it to work.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_FULL = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file grew beyond the limit for files",
}
configs_app = typer.Typer(help="The recipes that ship.", no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Turn raw security logs into a pretrained encoder, and put it to work."""


@configs_app.command("list")
def configs_list() -> None:
    """List the recipes and batch scripts, with their first comment."""
    from logfm.configs import recipes, scripts

    for name, path in (recipes() | scripts()).items():
        first = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
        typer.echo(f"{name:28} {first.lstrip('# ')}")


@configs_app.command("copy")
def configs_copy(
    name: Annotated[str, typer.Argument(help="A name from `logfm configs list`.")],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.")] = Path(),
) -> None:
    """Copy a recipe or a batch script, to edit it."""
    from logfm.configs import copy

    say(f"wrote {copy(name, out)}")


app.command("quickstart")(quickstart_command)
app.add_typer(corpus_app, name="corpus")
app.command("simulate")(simulate_command)
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(configs_app, name="configs")
app.command("pretrain")(pretrain_command)
app.command("plan")(plan_command)
app.command("export")(export_command)
app.command("embed")(embed_command)
app.add_typer(index_app, name="index")
app.command("search")(search_command)
app.command("detect")(detect_command)
app.command("patterns")(patterns_command)
app.command("subsample")(subsample_command)
app.command("explain")(explain_command)
app.command("serve")(serve_command)
app.command("finetune")(finetune_command)
app.command("classify")(classify_command)
app.command("merge")(merge_command)
app.add_typer(eval_app, name="eval")
app.command("doctor")(doctor_command)


def run() -> None:
    """The console script."""
    sys.exit(main())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 the user's mistake."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=arguments)
    except SystemExit as stop:
        # Typer ends every run this way, also after a wrong option, which it explains by itself.
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (LogfmError, OSError, MemoryError) as error:
        if "--debug" in arguments:
            raise
        say(f"error: {_explain(error)}")
        return 2 if isinstance(error, UserError) else 1
    return 0


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; give less input or smaller batches"
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" ({error.filename})" if error.filename else ""
        return f"{_FULL[error.errno]}{where}; make room, or give another --out"
    return str(error)


if __name__ == "__main__":
    run()
