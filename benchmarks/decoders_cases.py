"""The cases of `decoders.py`: their configuration, and the cases themselves, read once and kept as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from decoders_models import Models

from logfm.artifacts import digest, write_atomic
from logfm.configs.base import parse, read_yaml
from logfm.configs.schema.cases import CasesConfig
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.cases import CaseSet, cases

HERE = Path(__file__).parent


def task_config(task: str, data: Path, sim: Path | None) -> CasesConfig:
    """The cases of a task, with the folders put in.

    Raises:
        UserError: the task needs a simulated set, and there is none.
    """
    where = HERE / "decoders.yaml"
    document = read_yaml(where)["tasks"][task]
    if "SIM" in json.dumps(document) and sim is None:
        raise UserError("this task is about a simulated set", task, "Give --sim.")
    places = {"DATA/": f"{data}/", "SIM": str(sim)}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(one) for name, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        for name, place in places.items():
            if isinstance(value, str) and value.startswith(name):
                return f"{place}{value.removeprefix(name)}"
        return value

    return parse(CasesConfig, filled(document), where)


def kept_cases(config: CasesConfig, seed: int, models: Models | None, folder: Path) -> CaseSet:
    """The cases of a configuration; those of the folder, if they were read before. Delete it when the data changes."""
    counted_by = models.config.decoder.name if models else ""
    path = folder / f"{digest({'config': config.dump(), 'seed': seed, 'tokens': counted_by, 'version': 3})[:32]}.json"
    if not path.is_file():
        found = cases(config, seed, models.count_tokens if models else None)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, orjson.dumps(asdict(found)))
    document = orjson.loads(path.read_bytes())
    slots = [Slot(**one | {"labels": tuple(one["labels"])}) for one in document["grammar"]["slots"]]
    return CaseSet(**{**document, "grammar": Grammar(tuple(slots)), "cases": tuple(map(_case, document["cases"]))})


def _case(kept: dict[str, Any]) -> Case:
    answer = {name: tuple(labels) for name, labels in kept["answer"].items()}
    return Case(**{**kept, "answer": answer, "event_ids": tuple(kept["event_ids"])})
