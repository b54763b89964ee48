"""LogBERT: sequences of log keys under a transformer that learned the normal ones (Guo, Yuan and Wu, IJCNN 2021).

It is trained on the spot with the paper's two losses: predict masked keys, and keep what stands for a whole sequence
near the centre of all. Shape legend: W windows, L places, K keys, M masked places, D width.
"""

import math

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from logfm.configs.schema.embeddings import LogbertConfig
from logfm.embeddings.heads.keys import FIRST_KEY, MASK, PAD, START, Windows, vocabulary, windows
from logfm.embeddings.heads.scores import Scores, against

_HEADS, _LAYERS = 4, 2
# Every fifth window of a baseline is kept out of the training: the threshold comes from those.
_HELD_OUT = 5


class KeyModel(nn.Module):
    """A transformer encoder over keys; the state of the START token stands for the sequence."""

    centre: torch.Tensor

    def __init__(self, keys: int, config: LogbertConfig) -> None:
        super().__init__()
        width = config.hidden
        self.keys = nn.Embedding(keys, width, padding_idx=PAD)
        self.places = nn.Embedding(config.window + 1, width)
        layer = nn.TransformerEncoderLayer(width, _HEADS, 4 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, _LAYERS, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.predict = nn.Linear(width, keys)
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, keys_WL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the sequences (W, D) and of their places (W, L, D)."""
        start_W1 = keys_WL.new_full((len(keys_WL), 1), START)
        keys = torch.cat((start_W1, keys_WL), dim=1)
        embedded = self.keys(keys) + self.places.weight[: keys.shape[1]]
        states = self.layers(embedded, src_key_padding_mask=keys == PAD)
        return states[:, 0], states[:, 1:]

    def away(self, sequence_WD: torch.Tensor) -> torch.Tensor:
        """Squared distances of sequences to the centre (W,)."""
        return ((sequence_WD - self.centre) ** 2).sum(dim=1)


def logbert(
    events: pa.Table, baseline: pa.Table | None, config: LogbertConfig, contamination: float, seed: int
) -> Scores:
    """Score events (tables of `embed.KEYS`) by their sequences; trained on the baseline, else on themselves.

    A score is the sum of the paper's two criteria, each 1 at its limit: 1 where the event's own key is not among the
    `candidates` most likely ones while it is masked (a key that the training never saw never is), and its sequence's
    squared distance to the centre, as a multiple of the one that the share `contamination` of normal sequences
    exceeds. With a baseline that limit and the threshold come from its windows that were not trained on. Seeded.
    """
    normal = events if baseline is None else baseline
    known = vocabulary(normal, config.keys)
    own = windows(normal, known, config.window)
    held = np.zeros(len(own.keys), dtype=bool)
    held[(_HELD_OUT - 1) :: _HELD_OUT] = baseline is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = train(own.keys[~held], len(known) + FIRST_KEY, config)
    misses, away = judge(model, own, config)
    judged = held if held.any() else ~held
    limit = max(float(np.percentile(away[judged], 100 * (1 - contamination))), 1e-12)
    fitted = _by_event(own, misses + away[:, None] / limit, normal.num_rows)
    if baseline is None:
        return against(fitted, None, contamination)
    there = own.rows[judged]
    threshold = against(fitted[there[there >= 0]], None, contamination).threshold
    found = windows(events, known, config.window)
    misses, away = judge(model, found, config)
    return Scores(_by_event(found, misses + away[:, None] / limit, events.num_rows), threshold, fitted)


def train(keys: np.ndarray, vocabulary_size: int, config: LogbertConfig) -> KeyModel:
    """A model of these windows, int64 (W, L); its random state is torch's own."""
    model = KeyModel(vocabulary_size, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    every_WL = torch.from_numpy(keys)
    for step in range(config.steps):
        keys_WL = _trimmed(every_WL[torch.randint(len(every_WL), (config.batch,))])
        masked = (torch.rand(keys_WL.shape) < config.mask_share) & (keys_WL != PAD)
        masked[:, 0] |= ~masked.any(dim=1)  # the first place is never padding
        sequence_WD, states = model(keys_WL.masked_fill(masked, MASK))
        with torch.no_grad():
            pull = 1.0 if step == 0 else 0.05
            model.centre.lerp_(sequence_WD.mean(dim=0), pull)
        loss = cross_entropy(model.predict(states[masked]), keys_WL[masked])
        loss = loss + config.sphere_weight * model.away(sequence_WD).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def judge(model: KeyModel, found: Windows, config: LogbertConfig) -> tuple[np.ndarray, np.ndarray]:
    """Whether each event is a miss, float64 (W, L), and the distance of each sequence, float64 (W,).

    Each key is masked once, `mask_share` of a sequence at a time; the distance is the mean over those turns.
    """
    turns = math.ceil(1 / config.mask_share)
    misses, away = np.zeros(found.keys.shape), np.zeros(len(found.keys))
    lengths = (found.keys != PAD).sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    with torch.inference_mode():
        for rows in np.array_split(order, math.ceil(len(order) / 256)):
            keys_WL = _trimmed(torch.from_numpy(found.keys[rows]))
            for turn in range(turns):
                masked = (torch.arange(keys_WL.shape[1]) % turns == turn) & (keys_WL != PAD)
                sequence_WD, states = model(keys_WL.masked_fill(masked, MASK))
                away[rows] += model.away(sequence_WD).double().numpy() / turns
                scores_MK = model.predict(states[masked])
                targets_M = keys_WL[masked]
                own_M1 = scores_MK.gather(1, targets_M.unsqueeze(1))
                better_M = (scores_MK[:, FIRST_KEY:] > own_M1).sum(dim=1)
                missed = (better_M >= config.candidates) | (targets_M < FIRST_KEY)
                at, place = masked.nonzero(as_tuple=True)
                misses[rows[at.numpy()], place.numpy()] = missed.double().numpy()
    return misses, away


def _trimmed(keys_WL: torch.Tensor) -> torch.Tensor:
    """Without the places where all windows are padded."""
    return keys_WL[:, : int((keys_WL != PAD).sum(dim=1).max())]


def _by_event(found: Windows, values: np.ndarray, count: int) -> np.ndarray:
    scores = np.zeros(count, dtype=np.float64)
    there = found.rows >= 0
    scores[found.rows[there]] = values[there]
    return scores
