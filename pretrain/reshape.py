"""An unfinished run's state, freed from the number of ranks that wrote it: any other number goes on from it.

DeepSpeed's universal format merges the shards of ZeRO 1, 2 and 3. Its own loader is not used: with ZeRO 3 it gives all
parameters the first group's weight decay, and it serves DeepSpeed alone. What is written here is one safetensors file
with weights and Adam's moments by parameter name, which `logfm.pretrain.resuming` hands to any strategy.
"""

import argparse
import contextlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
import yaml
from safetensors.torch import save_file

from logfm.artifacts import Manifest, finished, produce, read_manifest, stage_key
from logfm.configs.base import parse
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.console import say
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain.callbacks import HISTORY
from logfm.pretrain.data import Leg
from logfm.pretrain.export import checkpoint_hash
from logfm.tokenizer import LogTokenizer

STAGE = "training-state"
TENSORS, TRAINING, FACTS, CONFIG = "training.safetensors", "training.pt", "config.json", "pretrain.yaml"
PARTS = ("fp32", "exp_avg", "exp_avg_sq")
"""What is kept of each parameter: its value and Adam's two moments, all float32."""
# Of what Lightning keeps, that which a run on other ranks takes up.
_KEPT = ("global_step", "loops", "callbacks", "lr_schedulers", "elapsed_seconds", "adam_step")


def reshape_checkpoint(checkpoint: Path, out: Path, world_size: int) -> Manifest:
    """Write a run's state at `checkpoint` (a DeepSpeed folder of any ZeRO stage, or a Lightning file) to `out`, with a
    configuration that goes on from it on `world_size` processes, on the same global batch where that divides.

    Raises:
        UserError: no checkpoint of a run there, one without the optimizer's state, or `out` holds something else.
    """
    facts = _facts(checkpoint)
    config = parse(
        PretrainConfig, {name: facts[name] for name in PretrainConfig.model_fields if name in facts}, checkpoint
    )
    inputs, settings = {"checkpoint": checkpoint_hash(checkpoint)}, {"world_size": world_size}
    done = finished(out, stage_key(STAGE, settings, 0, inputs))
    if done is not None:
        return done
    tensors, training = _read(checkpoint)
    leg = _leg(config, facts["legs"], int(training["global_step"]))
    run = checkpoint.parent.parent
    tokenizer = LogTokenizer.load(run / "tokenizer")
    with produce(out, stage=STAGE, config=settings, inputs=inputs) as work:
        work.licences.update(facts["licences"])
        save_file(tensors, work.path / TENSORS)
        torch.save(training, work.path / TRAINING)
        (work.path / FACTS).write_bytes(
            orjson.dumps(facts | {"legs": [*facts["legs"], list(leg)]}, option=orjson.OPT_INDENT_2)
        )
        if (run / HISTORY).exists():
            shutil.copyfile(run / HISTORY, work.path / HISTORY)
        tokenizer.save(work.path / "tokenizer")
        (work.path / CONFIG).write_text(_recipe(config, out, world_size), encoding="utf-8")
        work.metrics.update(step=leg.step, ranks=leg.ranks, parameters=len(tensors) // len(PARTS))
    return read_manifest(out)


def _facts(checkpoint: Path) -> dict[str, Any]:
    """The configuration of the run that wrote a checkpoint, and what else lies beside it."""
    path = checkpoint.parent.parent / FACTS
    if not checkpoint.exists() or not path.exists():
        raise UserError("no checkpoint of a pretraining run", checkpoint, "Give RUN/checkpoints/NAME.ckpt.")
    facts: dict[str, Any] = orjson.loads(path.read_bytes())
    if not {"legs", "data_keys"} <= facts.keys():
        raise UserError("the checkpoint does not say what data it was trained on", path, "Train it with this logfm.")
    return facts


def _leg(config: PretrainConfig, before: list[list[int]], step: int) -> Leg:
    """What the run did since it began, or since it went on from `before`."""
    first = before[-1][0] if before else 0
    train = config.train
    return Leg(step, (step - first) * train.accumulate, train.devices * train.nodes)


def _recipe(config: PretrainConfig, out: Path, world_size: int) -> str:
    train = config.train
    batches = train.devices * train.nodes * train.accumulate
    devices = train.devices if train.nodes > 1 and world_size % train.devices == 0 else world_size
    accumulate = max(1, round(batches / world_size))
    if accumulate * world_size != batches:
        say(f"a global batch was {batches} batches, on {world_size} processes it is {accumulate * world_size}")
    # A null inside a section says something, such as that no loss is too high.
    document = {name: value for name, value in config.model_dump(mode="json").items() if value is not None}
    document["train"] |= {"devices": devices, "nodes": world_size // devices, "accumulate": accumulate}
    document |= {"resume": str(out), "out": f"{config.out}-{world_size}"}
    first = f"# Goes on with {config.out} on {world_size} processes: logfm pretrain {out / CONFIG}\n"
    return first + yaml.safe_dump(document, sort_keys=False)


def _read(checkpoint: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors by part and parameter, and the rest of the training's state."""
    tensors, training = _read_shards(checkpoint) if checkpoint.is_dir() else _read_file(checkpoint)
    if not set(_KEPT) <= training.keys():
        raise UserError("the checkpoint has weights alone", checkpoint, "Give one named step=N.ckpt.")
    kept = {name: training[name] for name in _KEPT}
    # Other folders' checkpoints are none of the next run's.
    kept["callbacks"] = {name: state for name, state in kept["callbacks"].items() if "dirpath" not in state}
    return tensors, kept


def _read_file(checkpoint: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"cannot read the checkpoint ({type(error).__name__})", checkpoint) from error
    if "optimizer_states" not in saved:
        raise UserError("the checkpoint has weights and no optimizer state", checkpoint, "Give one named step=N.ckpt.")
    weights: Mapping[str, torch.Tensor] = saved["state_dict"]
    state = saved["optimizer_states"][0]["state"]
    # In the order of the optimizer's groups: matrices, then norms and biases.
    names = [name for matrix in (True, False) for name, value in weights.items() if (value.ndim >= 2) == matrix]
    if len(names) != len(state) or any(
        weights[name].shape != state[i]["exp_avg"].shape for i, name in enumerate(names)
    ):
        raise UserError("the optimizer's state does not fit the weights", checkpoint)
    tensors = {f"fp32:{name}": weights[name] for name in names}
    tensors |= {f"{part}:{name}": state[i][part] for i, name in enumerate(names) for part in PARTS[1:]}
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}, saved | {
        "adam_step": state[0]["step"]
    }


def _read_shards(checkpoint: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    folder = checkpoint / "checkpoint"
    states = sorted(folder.glob("*model_states.pt"))
    if not states or not any(folder.glob("*optim_states.pt")):
        raise UserError("a checkpoint without the shards of its optimizer", checkpoint)
    require("deepspeed", "train")
    try:
        training = torch.load(states[0], map_location="cpu", weights_only=True)
        with tempfile.TemporaryDirectory(dir=checkpoint.parent, prefix=".universal") as scratch:
            tensors, step = _merged(folder, Path(scratch), training)
    except Exception as error:
        raise UserError(f"cannot read the checkpoint ({type(error).__name__}: {error})", checkpoint) from error
    return tensors, training | {"adam_step": step}


def _merged(folder: Path, scratch: Path, training: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Tensors by part and parameter, and the steps that Adam took."""
    from deepspeed.checkpoint import ds_to_universal

    options = argparse.Namespace(
        input_folder=str(folder), output_folder=str(scratch / "universal"), num_extract_workers=1, num_merge_workers=1,
        keep_temp_folder=False, strict=True, inject_missing_state=True,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(options)
    tensors = {}
    for name, shape in ((name, shape) for group in training["param_shapes"] for name, shape in group.items()):
        for part in PARTS:
            value = torch.load(scratch / "universal" / "zero" / name / f"{part}.pt", weights_only=True)
            value = value["param"] if isinstance(value, dict) else value
            # ZeRO 3's parts come flat, with what filled up the last rank's share at their end.
            flat = value.detach().float().flatten()[: int(np.prod(shape))]
            tensors[f"{part}:{name}"] = flat.reshape(shape).clone()
    return tensors, _steps_of_adam(scratch / "universal" / "zero", name)


def _steps_of_adam(folder: Path, name: str) -> torch.Tensor:
    if (folder / name / "step.pt").exists():
        return torch.load(folder / name / "step.pt", weights_only=True)
    # Like DeepSpeed's own readers this unpickles; the folder was written by this user's training run.
    common = torch.load(folder / "optimizer_state.pt", map_location="cpu", weights_only=False)
    return common["optimizer_state_dict"]["state"][0]["step"]
