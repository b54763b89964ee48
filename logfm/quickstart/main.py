"""The quickstart itself: claim the folder, run the stages, write the report."""

import time
from collections.abc import Sequence
from pathlib import Path

from logfm.artifacts import write_atomic
from logfm.configs.schema.quickstart import QuickstartConfig
from logfm.evaluation import render
from logfm.quickstart.results import report_of
from logfm.quickstart.stages import Run, claim, run_stages


def quickstart(inputs: Sequence[str], out: Path, config: QuickstartConfig, command: str = "") -> Path:
    """Logs in; a corpus, a tokenizer, an encoder, an index, anomalies and a report out. Returns the report's path.

    Without inputs, telemetry with one labelled attack is simulated. Called again with the same arguments it goes on
    where it was interrupted.

    Raises:
        UserError: inputs that can't be used, or an `out` that holds something else.
    """
    start = time.monotonic()
    claim(out, inputs, config)
    run = Run(out, config, command, simulated=not inputs)
    products = run_stages(run, inputs)
    report = report_of(run, products, lambda: time.monotonic() - start)
    write_atomic(out / "report.json", report.model_dump_json(indent=1).encode())
    path = out / "report.html"
    render(report, path)
    return path
