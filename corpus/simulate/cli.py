"""`logfm simulate`."""

from pathlib import Path
from typing import Annotated

import typer


def simulate_command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    events: Annotated[int | None, typer.Option("--events", help="Events, about. [default: 20000]")] = None,
    attacks: Annotated[int | None, typer.Option("--attack", help="Attack runs. [default: 1]")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed. [default: 0]")] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", help="A scenario; repeatable. [default: all take turns]")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with further settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make telemetry with labelled attacks: Windows, Linux, web and DNS logs, and the truth beside them."""
    from logfm.configs.base import parse, read_yaml
    from logfm.configs.schema.simulate import SimulateConfig
    from logfm.console import emit_json, say
    from logfm.corpus.simulate import simulate

    options = {"events": events, "attacks": attacks, "seed": seed, "scenarios": scenario or None}
    document = read_yaml(config) if config else {}
    document |= {name: value for name, value in options.items() if value is not None}
    metrics = simulate(parse(SimulateConfig, document, config or "options"), out).metrics
    if as_json:
        emit_json({"out": str(out), **metrics})
        return
    for name, count in metrics["sources"].items():
        typer.echo(f"{name:24} {count:>10,}")
    say(f"simulated: {out} ({metrics['events']} events, {metrics['attack_events']} of attacks)")
