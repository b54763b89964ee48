"""Memory a device under DeepSpeed's ZeRO: what each stage divides among devices (Rajbhandari et al., 2020, figure 1).

The optimiser's part holds the float32 master weights. DeepSpeed's buffers have the sizes that Lightning gives them.
"""

from typing import Literal, get_args

from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain.memory import Bytes, How, Shape, activations, count, step_bytes

Offload = Literal["none", "optimizer", "parameters"]
Stage = Literal[0, 1, 2, 3]
STAGES: tuple[Stage, ...] = get_args(Stage)

_BUCKET = 200_000_000  # numbers
# Up to so many gathered weights stay until their next use (DeepSpeed's max_live_parameters and max_reuse_distance).
_LIVE = 1_000_000_000


def zero_bytes(
    model: ModelConfig,
    vocab_size: int,
    shape: Shape,
    how: How,
    stage: Stage,
    devices: int,
    offload: Offload = "none",
    accumulate: bool = False,
    on_cpu: bool = False,
) -> Bytes:
    """Memory of one device; stage 0 is one process without DeepSpeed, or one of many under DDP.

    `offload` keeps the optimiser, or with stage 3 the weights too, in the memory of the host, whose bytes a device are
    `host`. On a CPU, buffers take what is written to them only.
    """
    weights = count(model, vocab_size).total
    if stage == 0:
        alone = step_bytes(model, vocab_size, shape, how, accumulate)
        # DDP keeps a second copy of the gradients in its buckets.
        return alone._replace(buffers=4 * weights if devices > 1 else 0)
    share = -(-weights // devices)
    buckets = (min(_BUCKET, weights) if on_cpu else _BUCKET) * (1 if stage == 3 else 2)
    held = how.size * weights if stage < 3 else how.size * (share + min(weights, _LIVE))
    bytes_ = Bytes(
        weights=held,
        gradients=how.size * (weights if stage == 1 else share),
        optimizer=12 * share,
        buffers=how.size * buckets,
        activations=activations(model, vocab_size, shape, how).peak,
    )
    if offload == "none":
        return bytes_
    # Gradients go to the host too, where the optimiser takes its step.
    moved = bytes_._replace(optimizer=0, gradients=0, host=bytes_.optimizer + how.size * share)
    if offload == "parameters" and stage == 3:
        return moved._replace(weights=moved.weights - how.size * share, host=moved.host + how.size * share)
    return moved
