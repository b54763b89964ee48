"""Intrinsic quality of a masked language model: perplexity, masked accuracy and bits per byte, by source."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from logfm.artifacts import digest
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.pretrain import MaskingConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.data.copies import Rows, firsts, masked, sampled
from logfm.evaluation.stats import Floats, cluster_draws, estimate, ratio
from logfm.evaluation.suite.task import Contestant, Data, Measurement

if TYPE_CHECKING:
    from logfm.pretrain import PretrainedEncoder

META = TaskMeta(
    name="intrinsic",
    title="How well are masked tokens restored, in and out of distribution?",
    paper="SecEncoder, section 4.1 and Table 2; bits per byte, of what is masked, compare models",
    split="None is needed: nothing is trained. Events of templates that the encoder was trained on stand apart.",
    leakage="An encoder may have been trained on these very lines: `seen templates` and `new templates` tell, by its "
    "contamination index; without one only the source does.",
    main_score="bits_per_byte",
    metrics={"bits_per_byte": "lower", "perplexity": "neither", "masked_accuracy": "neither"},
    minutes=1,
    caps={"events": 1000},
    pretrained=True,
)
_SHARE = MaskingConfig().validation_share
# A token that is left as it is would be no question, and a random one asks another.
_MASKING = MaskingConfig(random_share=0.0, keep_share=0.0)
_LEAST = 20
SEEN, NEW = "seen templates", "new templates"


class _Sums(NamedTuple):
    """Of each event: nats, tokens restored, tokens masked, their bytes; float64 (events,)."""

    nats: Floats
    right: Floats
    tokens: Floats
    bytes: Floats


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Mask 15 % of the content tokens of a sample of the different events, and measure how they are restored.

    Every chosen token becomes [MASK]. Conditions are all events, each source of several, and templates that were seen
    in training or not.

    Raises:
        UserError: not an encoder of ours, or no content token to mask.
    """
    if contestant.pretrained is None:
        raise UserError("the intrinsic measures need an encoder that logfm trained", contestant.name)
    most = options.get("events")
    rows = sampled(firsts(data.texts), None if most is None else int(most), seed)
    texts = [data.texts[row] for row in rows]
    sums, cut = _sums(contestant.pretrained.pretrained, texts, seed)
    _, clusters = np.unique(masked(texts), return_inverse=True)
    if not sums.tokens.sum():
        raise UserError("no content token to mask", data.spec.name)
    note = f"{cut} events cut to the encoder's length" if cut else ""
    for condition, chosen in _parts(contestant, data, rows, texts):
        if condition and len(chosen) < _LEAST:
            continue
        # Which templates are new is each encoder's own: only those with the same events are compared.
        judged = digest({"rows": rows[chosen].tolist()}) if condition in (SEEN, NEW) else ""
        yield from _measurements(sums, clusters, chosen, condition, note, seed, judged)


def _parts(contestant: Contestant, data: Data, rows: Rows, texts: list[str]) -> Iterator[tuple[str, Rows]]:
    """Names of conditions, and places in the sample."""
    yield "", np.arange(len(rows))
    sources = np.array([data.sources[row] for row in rows]) if data.sources is not None else np.array([])
    names = np.unique(sources)
    for name in names if len(names) > 1 else []:
        yield f"source {name}", np.flatnonzero(sources == name)
    flags = _seen(contestant, texts)
    if flags is not None:
        yield SEEN, np.flatnonzero(flags)
        yield NEW, np.flatnonzero(~flags)


def _seen(contestant: Contestant, texts: Sequence[str]) -> np.ndarray | None:
    from logfm.evaluation.suite.contamination import seen
    from logfm.evaluation.suite.contestants import Pretrained

    return seen(contestant, texts) if isinstance(contestant, Pretrained) else None


def _measurements(
    sums: _Sums, clusters: Rows, chosen: Rows, condition: str, note: str, seed: int, judged: str
) -> Iterator[Measurement]:
    present, index = np.unique(clusters[chosen], return_inverse=True)
    draws = cluster_draws(len(present), StatisticsConfig().resamples, seed)
    nats, right, tokens, size = (np.bincount(index, weights=column[chosen]) for column in sums)
    if not tokens.sum() or not size.sum():
        return
    drawn_tokens = draws @ tokens
    values = {
        "bits_per_byte": (nats.sum() / np.log(2) / size.sum(), ratio(draws @ nats, draws @ size) / np.log(2)),
        "perplexity": (_exp(nats.sum() / tokens.sum()), _exp(ratio(draws @ nats, drawn_tokens))),
        "masked_accuracy": (right.sum() / tokens.sum(), ratio(draws @ right, drawn_tokens)),
    }
    for name, (value, replicates) in values.items():
        found = estimate(float(value), np.asarray(replicates), StatisticsConfig().confidence, len(present))
        yield Measurement.of(name, found, int(tokens.sum()), condition=condition, note=note, judged=judged)


def _exp(nats: Any) -> Any:
    return np.exp(np.minimum(nats, 700.0))


def _sums(encoder: "PretrainedEncoder", texts: Sequence[str], seed: int) -> tuple[_Sums, int]:
    """What each event costs, and how many were longer than the encoder reads; the draw depends on the seed alone."""
    import torch

    from logfm.pretrain.data import packed_batch
    from logfm.pretrain.forward import hidden_states, prediction_loss
    from logfm.pretrain.masking import mask_events, maskable_ids
    from logfm.pretrain.packing import cut_by_tokens

    tokenizer = encoder.tokenizer
    ids = tokenizer.encode_batch(list(texts))
    cut = sum(len(one) > encoder.max_tokens for one in ids)
    ends = [tokenizer.cls_id], [tokenizer.sep_id]
    events = [np.concatenate([ends[0], one[: encoder.max_tokens], ends[1]]).astype(np.int64) for one in ids]
    maskable = maskable_ids(tokenizer.delimiter_mask, np.flatnonzero(tokenizer.byte_lengths == 0), delimiters=False)
    totals = np.zeros((4, len(events)))
    lengths = np.array([len(one) for one in events])
    order = np.argsort(lengths, kind="stable")
    device = encoder.model.device
    for number, rows in enumerate(cut_by_tokens(order, lengths[order], encoder.tokens_per_batch)):
        rng = np.random.default_rng([seed, number])
        hidden = mask_events([events[row] for row in rows], maskable, tokenizer.mask_id, _MASKING, _SHARE, rng)
        if not len(hidden.positions):
            continue
        batch = packed_batch(hidden).to(device)
        with torch.inference_mode():
            states = hidden_states(encoder.model, batch.packed)
            _, nats, right = prediction_loss(
                encoder.model, encoder.decoder, states, batch.packed, batch.positions_M, batch.targets_M
            )
        starts = np.cumsum(lengths[rows])
        owner = rows[np.searchsorted(starts, hidden.positions, side="right")]
        size = tokenizer.byte_lengths[hidden.targets]
        for total, values in zip(
            totals, (nats.cpu().numpy(), right.cpu().numpy(), np.ones(len(owner)), size), strict=True
        ):
            np.add.at(total, owner, values)
    return _Sums(*totals), cut
