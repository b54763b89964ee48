"""The command `logfm quickstart`."""

from pathlib import Path
from typing import Annotated

import typer


def quickstart_command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs. Without any, telemetry is simulated.", metavar="[INPUT]..."),
    ] = None,
    config: Annotated[str, typer.Option("--config", help="A YAML file, or a recipe.")] = "quickstart",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key: a.b=value. Repeatable.")] = None,
) -> None:
    """Logs in; a corpus, a tokenizer, a pretrained encoder, a search index, anomalies and a report out.

    The same command resumes a run that was interrupted.
    """
    import shlex

    from logfm.configs import load
    from logfm.configs.schema.quickstart import QuickstartConfig
    from logfm.console import say
    from logfm.extras import require

    resolved = load(QuickstartConfig, config, set_ or [])
    for module, extra in (("faiss", "cpu"), ("lightning", "train"), ("datasets", "train"), ("drain3", "eval")):
        require(module, extra)
    require("jinja2", "eval")
    words = ["logfm", "quickstart", *(inputs or []), "--out", str(out)]
    words += ["--config", config] if config != "quickstart" else []
    words += [word for value in set_ or [] for word in ("--set", value)]
    from logfm.quickstart.main import quickstart

    report = quickstart(inputs or [], out, resolved, shlex.join(words))
    say(f'report: {report}\nnext: logfm search {shlex.quote(str(out / "index"))} "failed login"')
