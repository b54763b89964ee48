"""DeepSpeed's ZeRO under Lightning: checkpoints that appear whole or not at all, and a variant that runs on CPUs.

Imported when a run asks for DeepSpeed, after the environment says which accelerator it is to use.
"""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch.distributed import distributed_c10d

from logfm.pretrain.saving import remove, replacing, unfinished


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's strategy; a checkpoint is written beside its place and moved there once every rank is done."""

    def setup(self, trainer: lightning.Trainer) -> None:
        """Hold all process groups to the strategy's timeout: those that DeepSpeed makes would wait half an hour."""
        super().setup(trainer)
        if self._timeout is not None:
            for group in tuple(distributed_c10d._world.pg_map):
                distributed_c10d._set_pg_timeout(self._timeout, group)

    def backward(self, closure_loss: torch.Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Backward without DeepSpeed's division by the number of accumulated batches.

        Lightning has divided already; a second time would make gradients too small to be clipped as asked.
        """
        return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None) -> None:
        """Write the shards of all ranks.

        Raises:
            LogfmError: they cannot be written; what was there before is untouched.
        """
        path = Path(self.broadcast(filepath))
        temporary = unfinished(path)
        if self.is_global_zero:
            remove(temporary)
        with replacing(path):
            super().save_checkpoint(checkpoint, temporary, storage_options)
            # DeepSpeed leaves this call behind a barrier: all shards are there.
            if self.is_global_zero:
                remove(path)
                temporary.rename(path)
        self.barrier()


class ZeroOnCPUStrategy(ZeroStrategy):
    """Lightning refuses CPUs; DeepSpeed itself runs on them, over gloo."""

    def setup_environment(self) -> None:
        """Start the process group without the check for CUDA."""
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    @property
    def root_device(self) -> torch.device:
        """A CPU device with an index, which DeepSpeed asks for."""
        return torch.device("cpu", 0)
