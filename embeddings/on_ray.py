"""Encoding on Ray: each worker has the encoder, batches go round, vectors come back in order."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.corpus.on_ray import connect
from logfm.embeddings.encoder import Counts, LogEncoder
from logfm.errors import LogfmError, UserError

_Encoded = tuple[np.ndarray, Counts]


def encode_on_ray(
    batches: Iterator[pa.RecordBatch], encoder: LogEncoder, workers: int | None = None
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Each batch of events with its vectors, float32 (rows, dim), encoded by a Ray cluster (RAY_ADDRESS), else by one
    that is started here. One worker a GPU, or one a CPU where there is none, unless `workers` says how many.

    An encoder folder must lie where every node sees it under the same path. What workers count is added to
    `encoder.counts`.

    Raises:
        UserError: Ray is not installed, or the encoder lives in this process only (tfidf).
        LogfmError: a worker failed, or has another encoder under the same name.
    """
    if encoder.name == "tfidf":
        raise UserError("tfidf, fitted here, is not known to the workers of Ray", fix="Leave --engine ray out.")
    ray = connect(workers)
    from ray.util import ActorPool

    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    count = workers or gpus or max(1, int(resources.get("CPU", 1)))
    kind = ray.remote(num_cpus=1, num_gpus=int(gpus > 0), max_restarts=2, max_task_retries=2)(_Worker)
    actors = [kind.remote(encoder.name, encoder.config.dump(), encoder.hash) for _ in range(count)]
    pool: Any = ActorPool(actors)
    waiting: list[pa.RecordBatch] = []
    try:
        for batch in batches:
            if not pool.has_free():
                yield waiting.pop(0), _taken(pool.get_next(), encoder)
            pool.submit(lambda actor, texts: actor.encode.remote(texts), batch["text"].to_pylist())
            waiting.append(batch)
        while waiting:
            yield waiting.pop(0), _taken(pool.get_next(), encoder)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, LogfmError):
            raise cause from None
        raise LogfmError(f"a worker of Ray failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        for actor in actors:
            ray.kill(actor)


class _Worker:
    """One process of the cluster, with the encoder in it."""

    def __init__(self, name: str, config: dict[str, Any], expected: str) -> None:
        self.encoder = LogEncoder.load(name, EncoderConfig.model_validate(config))
        if self.encoder.hash != expected:
            raise LogfmError(f"a worker of Ray has another encoder under the name {name}")

    def encode(self, texts: Sequence[str]) -> _Encoded:
        """Vectors of a batch, and what was counted."""
        encoder = replace(self.encoder, counts=Counts())
        return encoder.encode(texts), encoder.counts


def _taken(encoded: _Encoded, encoder: LogEncoder) -> np.ndarray:
    vectors, counts = encoded
    encoder.counts.add(counts)
    return vectors
