"""Commands of the evaluation suite."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Evaluate encoders: a suite of tasks to one table.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
_DataSpecs = Annotated[
    list[Path] | None, typer.Option("--data-specs", help="Folder with data sets of your own, as YAML.")
]


@app.command("list")
def eval_list(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Everything about one suite, task or data set.")
    ] = None,
    data_specs: _DataSpecs = None,
    as_json: _Json = False,
) -> None:
    """List suites, tasks and data sets with what they say about themselves."""
    from logfm.evaluation.suite.listing import show_known
    from logfm.evaluation.suite.registry import registry

    show_known(registry(data_specs or ()), name, as_json)


@app.command("run")
def eval_run(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A name of `logfm eval list`, or a YAML file.")],
    encoder: Annotated[
        list[str],
        typer.Option(
            "--encoder",
            help="A folder, st:NAME, hf:NAME, tfidf, minilm, random, py:MODULE:OBJECT, http://HOST/...#MODEL, "
            "or NAME=one of them.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for results; one that has some is gone on with.")],
    data: Annotated[Path | None, typer.Option("--data", envvar="LOGFM_DATA", help="Folder of the data sets.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="By default as many as the suite says.")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated.")] = None,
    data_specs: _DataSpecs = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: cells as tasks of a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Of Ray; by default all.")] = None,
    as_json: _Json = False,
) -> None:
    """Run a suite over encoders and its baselines: Parquet, CSV and an HTML report.

    A run that was stopped goes on where it was: give the same command again.
    """
    from logfm.errors import LogfmError, UserError
    from logfm.evaluation.suite.listing import show_run
    from logfm.evaluation.suite.main import REPORT, evaluate, idle, unmeasured
    from logfm.evaluation.suite.registry import registry

    known = registry(data_specs or ())
    result = evaluate(
        known, suite, encoder, out, data=data, seeds=seeds, tasks=task or (), engine=engine, workers=workers
    )
    show_run(result, out, as_json)
    if failed := unmeasured(result):
        raise LogfmError(f"nothing could be measured of {', '.join(failed)}; {out / REPORT} says why")
    if why := idle(result):
        raise UserError("nothing was measured", str(out), f"The commonest reason: {why.rstrip('.')}.")


@app.command("compare")
def eval_compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `logfm eval run` wrote.")],
    metric: Annotated[str | None, typer.Option("--metric", help="Instead of each task's main score.")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated.")] = None,
    as_json: _Json = False,
) -> None:
    """Put runs side by side: paired differences, adjusted for their number; ties are called ties."""
    from logfm.evaluation.suite.listing import show_comparison
    from logfm.evaluation.suite.main import compare_folders

    show_comparison(compare_folders(folders, metric, task or ()), as_json)
