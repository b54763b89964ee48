"""How devices share the work: Lightning's own strategies, and its DeepSpeed strategy made to run on CPUs too."""

import os
from typing import Any

import torch

from logfm.configs.schema.pretrain import TrainConfig
from logfm.errors import UserError
from logfm.extras import require


def build_strategy(config: TrainConfig) -> Any:
    """The value for `Trainer(strategy=...)`.

    Raises:
        UserError: DeepSpeed is asked for and not installed, or `auto` is asked to use several devices on a CPU.
    """
    if config.strategy != "deepspeed":
        return config.strategy
    on_cpu = uses_cpu(config)
    if on_cpu:
        # Read by DeepSpeed when it is imported.
        os.environ["DS_ACCELERATOR"] = "cpu"
    require("deepspeed", "train")
    from lightning.pytorch.strategies import DeepSpeedStrategy

    options: dict[str, Any] = {"stage": config.zero_stage, "logging_batch_size_per_gpu": 1}
    if not on_cpu:
        return DeepSpeedStrategy(**options)

    class CPUDeepSpeedStrategy(DeepSpeedStrategy):
        """Lightning's strategy refuses CPUs; DeepSpeed itself runs on them, over gloo."""

        def setup_environment(self) -> None:
            """Start the process group without the check for CUDA."""
            self._init_deepspeed_distributed()

        @property
        def root_device(self) -> torch.device:
            """A CPU device with an index, which DeepSpeed asks for."""
            return torch.device("cpu", 0)

    return CPUDeepSpeedStrategy(process_group_backend="gloo", **options)


def uses_cpu(config: TrainConfig) -> bool:
    """Whether the run is on the CPU.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("train.accelerator is gpu, and torch sees no GPU", fix="See: logfm doctor")
    return config.accelerator == "cpu" or not torch.cuda.is_available()


def global_rank() -> int:
    """This process's number among all of the run, as torchrun, Slurm or Lightning's launcher tells it."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0
