"""A parameter's value and Adam's moments, put where each strategy keeps them: torch's optimizer, ZeRO's partitions."""

from collections.abc import Mapping
from typing import Any

import torch


def make_room(optimizer: Any, step: int) -> None:
    """Give an optimizer that took no step yet the state of one that took `step`: zero moments, to be filled."""
    base = getattr(optimizer, "optimizer", optimizer)
    # ZeRO 3 hands torch's optimizer one partition at a time, and keeps them here.
    partitions = getattr(optimizer, "fp32_partitioned_groups_flat", None)
    if partitions is None:
        partitions = [value for group in base.param_groups for value in group["params"]]
    for partition in partitions:
        base.state[partition] = {
            "step": torch.tensor(float(step)),
            "exp_avg": torch.zeros_like(partition.detach()),
            "exp_avg_sq": torch.zeros_like(partition.detach()),
        }
    # ZeRO 1 and 2 find a parameter's part of these through links that they make in the first step.
    link = getattr(optimizer, "_lazy_init_hp_params_optimizer_state", None)
    if link is not None:
        link()


@torch.no_grad()
def fill(optimizer: Any, parameter: torch.nn.Parameter, values: Mapping[str, torch.Tensor]) -> None:
    """Set a parameter to `fp32` and its moments to the other values (float32, of the whole parameter's shape)."""
    if hasattr(parameter, "ds_id"):
        _fill_partition(parameter, values)
        return
    value, moments = values["fp32"], {name: part for name, part in values.items() if name != "fp32"}
    parameter.data.copy_(value)
    if not hasattr(parameter, "_hp_mapping"):
        for name, moment in moments.items():
            optimizer.state[parameter][name].copy_(moment)
        return
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    safe_set_full_fp32_param(parameter, value)
    for name, moment in moments.items():
        safe_set_full_optimizer_state(parameter, moment, name)


def _fill_partition(parameter: Any, values: Mapping[str, torch.Tensor]) -> None:
    """ZeRO 3: this rank's stretch of the flat values, the last one filled up with zeros."""
    import deepspeed
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
        parameter.data.copy_(values["fp32"])
    size = parameter.ds_tensor.numel()
    first = torch.distributed.get_rank() * size
    for name, value in values.items():
        stretch = value.flatten()[first : first + size]
        stretch = torch.nn.functional.pad(stretch, (0, size - stretch.numel()))
        if name == "fp32":
            safe_set_local_fp32_param(parameter, stretch)
        else:
            safe_set_local_optimizer_state(parameter, stretch, name)
