"""What the GPU benchmark measures: the data, both sides' batches and training steps, and the clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig
from logfm.pretrain.attention import Name
from logfm.pretrain.compiling import compile_layers
from logfm.pretrain.data import Batch, Masker
from logfm.pretrain.forward import hidden_states, prediction_loss
from logfm.pretrain.model import build
from logfm.pretrain.packing import cut_by_tokens, plan_batches

SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
MASK_ID, SHARE = 4, 0.3
# Lengths without token shards: log-normal, median 120 tokens, sigma 0.9, between 8 and the longest.
MEDIAN, SIGMA, LONGEST = 120, 0.9, 512
Row = dict[str, Any]
Step = Callable[[Any], torch.Tensor]


@dataclass(frozen=True)
class Bench:
    """What all stages share; sizes in tokens."""

    device: torch.device
    sizes: ModelConfig
    vocabulary: int
    events: list[np.ndarray]
    batch: int
    curve_batch: int
    curve_steps: int
    lengths: tuple[int, ...]
    memory_lengths: tuple[int, ...]
    rounds: int
    compiled: bool
    peak: float | None
    measured: float
    deadline: float

    @property
    def fast(self) -> Name:
        """The implementation under test: the kernels on a GPU, what `auto` takes elsewhere."""
        return "triton" if self.device.type == "cuda" else "auto"

    def late(self) -> bool:
        """Whether the time that was given is used up."""
        return time.monotonic() > self.deadline


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gb(device: torch.device) -> float | None:
    """Most memory (GB) of tensors since the last call; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return round(peak, 2)


def product_rate(device: torch.device, size: int) -> float:
    """FLOP/s of a square bf16 product of random numbers, the median of ten."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(13):
        synchronise(device)
        start = time.perf_counter()
        torch.matmul(a, b)
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / float(np.median(seconds[3:]))


def sample(vocabulary: int, longest: int, tokens: int) -> list[np.ndarray]:
    """Events of log-normal lengths with ids by Zipf's law, [CLS] first and [SEP] last."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(min(MEDIAN, longest / 4)), SIGMA, size=tokens // 16), 8, longest).astype(int)
    lengths = lengths[: max(1, int(np.searchsorted(np.cumsum(lengths), tokens)))]
    ranks = np.arange(1, vocabulary - len(SPECIALS) + 1, dtype=np.float64)
    ids = len(SPECIALS) + rng.choice(len(ranks), size=int(lengths.sum()), p=(1 / ranks) / (1 / ranks).sum())
    events = np.split(ids, np.cumsum(lengths)[:-1])
    for event in events:
        event[0], event[-1] = 1, 2
    return events


def masker(bench: Bench) -> Masker:
    """Masks any token but the special ones, as the rival does."""
    maskable = np.ones(bench.vocabulary, dtype=bool)
    maskable[: len(SPECIALS)] = False
    return Masker(maskable, MASK_ID, MaskingConfig(share=SHARE), seed=0)


def packed_batches(bench: Bench, events: list[np.ndarray], tokens: int, count: int) -> list[Batch]:
    """So many masked and packed batches, of as many passes over the events as that takes."""
    lengths = np.array([len(event) for event in events])
    plan = [rows for turn in range(count) for rows in plan_batches(lengths, tokens, turn)][:count]
    return [masker(bench).batch([events[i] for i in rows], number, SHARE) for number, rows in enumerate(plan)]


def padded_batches(bench: Bench, tokens: int, count: int) -> list[tuple[dict[str, torch.Tensor], int]]:
    """The rival's batches, each with its tokens that are no padding."""
    words = {name: i for i, name in enumerate(SPECIALS)}
    words |= {f"t{i}": i for i in range(len(SPECIALS), bench.vocabulary)}
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="[UNK]")), unk_token="[UNK]", **names
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=SHARE)
    lengths = np.array([len(event) for event in bench.events])
    orders = [np.random.default_rng(turn).permutation(len(lengths)) for turn in range(count)]
    parts = [rows for order in orders for rows in cut_by_tokens(order, lengths[order], tokens)][:count]
    return [
        (dict(collate([{"input_ids": bench.events[i].tolist()} for i in rows])), int(lengths[rows].sum()))
        for rows in parts
    ]


def padded_of(batch: Batch) -> tuple[dict[str, torch.Tensor], int]:
    """One of our batches as the rival takes it: the same events, hidden in the same places."""
    packed = batch.packed
    labels_T = torch.full_like(packed.ids_T, -100)
    labels_T[batch.positions_M] = batch.targets_M
    padded = {
        name: torch.nn.utils.rnn.pad_sequence([flat_T[packed.event_T == n] for n in range(len(packed.lengths_B))],
                                              batch_first=True, padding_value=empty)
        for name, flat_T, empty in (("input_ids", packed.ids_T, 0), ("labels", labels_T, -100))
    }  # fmt: skip
    real = torch.arange(padded["labels"].shape[1]) < packed.lengths_B[:, None]
    return padded | {"attention_mask": real.long()}, len(packed.ids_T)


def fresh(bench: Bench) -> tuple[Any, torch.optim.Optimizer]:
    """A model with random weights, the same each time, and its optimiser."""
    model = build(bench.sizes, bench.vocabulary, pad_id=0, seed=0).to(bench.device).train()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bench.device.type == "cuda")


def ours(bench: Bench, attention: Name, bf16: bool = True, compiled: bool = False) -> Step:
    """One training step of ours on a packed batch; gives the loss, not waited for."""
    model, optimizer = fresh(bench)
    if compiled:
        compile_layers(model)

    def step(batch: Batch) -> torch.Tensor:
        there = batch.to(bench.device)
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bf16):
            states = hidden_states(model, there.packed, attention)
            loss, _, _ = prediction_loss(model, None, states, there.packed, there.positions_M, there.targets_M)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def rival(bench: Bench, bf16: bool) -> Step:
    """One training step of transformers on a padded batch."""
    model, optimizer = fresh(bench)

    def step(batch: tuple[dict[str, torch.Tensor], int]) -> torch.Tensor:
        there = {name: tensor.to(bench.device) for name, tensor in batch[0].items()}
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bf16):
            loss = model(**there).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def seconds_of(bench: Bench, step: Step, batches: Sequence[Any]) -> float:
    """Seconds that the steps take, the device's work included."""
    synchronise(bench.device)
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    synchronise(bench.device)
    return time.perf_counter() - start
