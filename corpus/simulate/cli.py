"""`logfm simulate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

# Settings of `--sessions` only, and of a single span only.
_OF_SESSIONS = ("minutes", "prevalence", "holdout_techniques", "days", "drift")


def simulate_command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    events: Annotated[
        int | None,
        typer.Option("--events", help="Events, about; of each session. [default: 20000; 132 a minute]"),
    ] = None,
    attacks: Annotated[
        int | None,
        typer.Option("--attack", help="Attack runs, or sessions with an attack. [default: 1; 8 %, at most 70]"),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed. [default: 0]")] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="A scenario; repeatable. [default: all take turns]")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option("--sessions", help="Make so many sessions, each in a folder with all sources.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="Minutes of a session. [default: 20]")] = None,
    prevalence: Annotated[
        float | None, typer.Option("--prevalence", help="Part of the sessions that holds an attack, for --attack.")
    ] = None,
    days: Annotated[int | None, typer.Option("--days", help="Days that the sessions are spread over.")] = None,
    drift: Annotated[float | None, typer.Option("--drift", help="0 to 1: how much comes up over the days.")] = None,
    holdout_techniques: Annotated[
        list[str] | None,
        typer.Option("--holdout-techniques", help="A technique that only test sessions hold; repeatable."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes for --sessions. [default: one a core]")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="A YAML file with further settings, or a recipe: simulate/defense.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make telemetry with labelled attacks, and the truth beside it: one span of a company, or --sessions."""
    from logfm.configs.base import parse, read_yaml
    from logfm.configs.schema.simulate import SessionsConfig, SimulateConfig
    from logfm.console import say
    from logfm.corpus.simulate import simulate, simulate_sessions
    from logfm.errors import UserError

    options = {
        "events": events, "attacks": attacks, "seed": seed, "scenarios": scenario or None, "sessions": sessions,
        "minutes": minutes, "prevalence": prevalence, "days": days, "drift": drift,
        "holdout_techniques": holdout_techniques or None,
    }  # fmt: skip
    document = _read(config, read_yaml)
    if attacks is not None and prevalence is not None:
        raise UserError("--attack and --prevalence say the same thing twice", fix="Give one of them.")
    if attacks is not None:
        document.pop("prevalence", None)
    document |= {name: value for name, value in options.items() if value is not None}
    where = config or "options"
    if "sessions" in document:
        metrics = simulate_sessions(parse(SessionsConfig, document, where), out, workers).metrics
    else:
        for name in (*_OF_SESSIONS, *(["workers"] if workers else [])):
            if name in document or name == "workers":
                raise UserError("only for sessions", name.replace("_", "-"), "Add --sessions.")
        metrics = simulate(parse(SimulateConfig, document, where), out).metrics
    _show(out, metrics, as_json)
    say(f"simulated: {out} ({metrics['events']} events, {metrics['attack_events']} of attacks)")


def _read(config: str | None, read: Any) -> dict[str, Any]:
    from logfm.configs.base import find

    return dict(read(find(config))) if config else {}


def _show(out: Path, metrics: dict[str, Any], as_json: bool) -> None:
    from logfm.console import emit_json

    if as_json:
        emit_json({"out": str(out), **metrics})
        return
    for name, count in metrics["sources"].items():
        typer.echo(f"{name:24} {count:>10,}")
