"""How long a decoder head takes to train and to answer, and the memory it needs.

    python benchmarks/decoders_speed.py --out FOLDER [--data FOLDER] [--cases 450] [--epochs 3] [--threads 2]
        [--ask 64] [--set KEY=VALUE]

Trains SmolLM2-135M on single log entries (the triage task of `decoders.yaml`), then answers `--ask` held-out entries
batched and one by one, freely and under the grammar. Wall-clock and processor time are in seconds, memory is the
process's peak in GiB. Figures go to `FOLDER/speed.json`.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from decoders_cases import HERE, kept_cases, task_config
from decoders_models import decoders

from logfm.artifacts import peak_memory
from logfm.console import emit_json, say
from logfm.evaluation.decoders.limiting import sampled, spread
from logfm.finetune.decoder.head import DecoderHead, copy_of
from logfm.finetune.decoder.labelling import grammar_of
from logfm.finetune.decoder.splits import split


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cases", type=int, default=450)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--ask", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE in the decoder's configuration")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = task_config("triage", options.data, None)
    models = decoders(data, options.out, [*options.set, f"training.epochs={options.epochs}"])
    parts = split(kept_cases(data, 0, models, options.out / "cases"))
    grammar = grammar_of(parts.train, data.task)
    train = spread(parts.train, grammar, options.cases, 0)
    folder = options.out / "head"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = copy_of(models.base)
    (head, told), took = timed(lambda: DecoderHead.fit(models.config, grammar, train, (), folder, base))
    figures: dict[str, Any] = {"cases": len(train), "training": took, "told": told}
    figures["training"]["peak GiB"] = round(peak_memory() / 2**30, 2)
    say(str(figures["training"]))
    asked = sampled(parts.test, options.ask, 0)
    for mode in ("constrained", "free"):
        for name, size in (("batched", None), ("one by one", 1)):
            _, spent = timed(lambda mode=mode, size=size: head.predict(asked, mode, size))
            figures[f"{mode}, {name}"] = spent | {"cases/s": round(len(asked) / spent["wall s"], 2)}
            say(f"{mode}, {name}: {figures[f'{mode}, {name}']}")
    figures["peak GiB"] = round(peak_memory() / 2**30, 2)
    (options.out / "speed.json").write_text(json.dumps(figures, indent=1, default=str))
    emit_json(json.loads(json.dumps(figures, default=str)))


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `work` returns, and the seconds it took by the clock and by the processor."""
    wall, processor = time.monotonic(), time.process_time()
    found = work()
    return found, {
        "wall s": round(time.monotonic() - wall, 1),
        "processor s": round(time.process_time() - processor, 1),
    }


if __name__ == "__main__":
    main()
