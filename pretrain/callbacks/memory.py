"""Memory that training frees, handed back to the system."""

from typing import Any

import lightning

from logfm.allocator import release_memory
from logfm.pretrain.data import Batch


class ReleaseMemory(lightning.Callback):
    """Hands freed memory back to the system now and then: batches vary in shape, and glibc's heap keeps the holes."""

    EVERY = 10
    """Batches between releases; one takes some 0.05 s."""

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Release, on systems that can."""
        if batch_idx % self.EVERY == self.EVERY - 1:
            release_memory()
