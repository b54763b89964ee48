"""The arithmetic of published runs, worked as `logfm plan` does it, so that a plan can be held against them."""

from typing import Any, NamedTuple

from logfm.configs import load
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain.memory import equal_lengths
from logfm.pretrain.planning import TOKENS_PER_PARAMETER, VOCABULARY, flops_per_token

_A100 = 312e12  # dense bfloat16 FLOP/s, by the data sheet


class _Published(NamedTuple):
    """A run as its paper states it."""

    model: str
    parameters: float
    trainable: float
    tokens: float
    gpus: int | None = None
    days: float | None = None


_RUNS = (
    _Published("SecEncoder base", 110e6, 110e6, 47e9),
    _Published("SecEncoder large", 350e6, 350e6, 77e9),
    _Published("SecEncoder xlarge", 700e6, 700e6, 77e9),
    _Published("SecEncoder xxlarge, 64 A100, 4 weeks", 1.1e9, 1.1e9, 77e9, 64, 28.0),
    _Published("AMAN (Qwen2.5-3B, LoRA r=16)", 3.1e9, 29.9e6, 1.544e9),
)
_LENGTHS = (512, 1024, 48_000)


def published_runs() -> list[dict[str, Any]]:
    """Tokens a parameter, FLOPs, and the utilisation that the stated GPUs and days come to, of each published run.

    FLOPs are 6 a parameter and token (2 forward, 2 for the gradient of the input, 2 for that of the weight), where a
    frozen parameter has no gradient of its own: 4 N + 2 N_trainable. Without attention, so a lower bound.
    """
    return [_row(run, run.tokens * (4 * run.parameters + 2 * run.trainable)) for run in _RUNS]


def by_our_formula() -> list[dict[str, Any]]:
    """SecEncoder xxlarge's run with the FLOPs of our recipe of its size, attention included, at some lengths."""
    config = load(PretrainConfig, "pretrain/xxlarge")
    run = _RUNS[3]
    rows = []
    for length in _LENGTHS:
        shape = equal_lengths(length, config.data.tokens_per_batch, config.masking.share)
        flops = run.tokens * flops_per_token(config.model, VOCABULARY, shape)
        rows.append(_row(run._replace(model=f"SecEncoder xxlarge by our recipe at {length:,} tokens"), flops))
    return rows


def _row(run: _Published, flops: float) -> dict[str, Any]:
    seconds = None if run.gpus is None or run.days is None else run.gpus * run.days * 86_400
    return {
        "run": run.model,
        "parameters": run.parameters,
        "trainable": run.trainable,
        "tokens": run.tokens,
        "tokens_per_parameter": run.tokens / run.parameters,
        "tokens_per_trainable_parameter": run.tokens / run.trainable,
        "compute_optimal_tokens": TOKENS_PER_PARAMETER * run.parameters,
        "flops": flops,
        "gpu_hours": None if seconds is None else seconds / 3600,
        "tokens_per_second_and_gpu": None if seconds is None else run.tokens / seconds,
        "utilisation": None if seconds is None else flops / (seconds * _A100),
    }
