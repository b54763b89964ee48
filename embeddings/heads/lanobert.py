"""LAnoBERT: how badly a masked language model predicts an event (Lee, Kim and Kang, 2023); no parser, no training."""

from collections.abc import Sequence

import numpy as np

from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.truncation import pieces

# Different texts whose masked variants are held at once.
_CHUNK = 512


def surprise(texts: Sequence[str], encoder: LogEncoder, top: int) -> np.ndarray:
    """Mean of the `top` largest masked-token negative log-likelihoods of each text; nats, float64 (texts,).

    Every content token is masked once (`PretrainedEncoder.masked_nlls`); a text with fewer of them gives the mean of
    all, one with none 0. Texts of which the same is read are scored once. Texts longer than the encoder reads follow
    its truncation policy, which counts them when they are encoded; chunks are judged apart and ranked together.

    Raises:
        UserError: the encoder was not trained by logfm, or a text is too long and the policy is "error".
    """
    model = encoder.pretrained
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(text, len(numbers)) for text in encoder.read(texts)], dtype=np.int64)
    unique = list(numbers)
    limit = encoder.limit
    found = np.zeros(len(unique), dtype=np.float64)
    for start in range(0, len(unique), _CHUNK):
        parts, owners = [], []
        for owner, ids in enumerate(model.tokenizer.encode_batch(unique[start : start + _CHUNK]), start):
            for ranges in pieces(len(ids), limit, encoder.config.truncation):
                parts.append(np.concatenate([ids[first:last] for first, last in ranges]))
                owners.append(owner)
        nats: dict[int, list[np.ndarray]] = {}
        for owner, values in zip(owners, model.masked_nlls(parts), strict=True):
            nats.setdefault(owner, []).append(values[~np.isnan(values)])
        for owner, judged in nats.items():
            largest = np.sort(np.concatenate(judged))[-top:]
            found[owner] = float(largest.mean()) if len(largest) else 0.0
    return found[rows]
