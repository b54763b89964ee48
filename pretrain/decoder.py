"""The enhanced mask decoder (He et al., DeBERTa, 2021, section 3.2): absolute positions, right before the output.

The encoder knows distances alone. What stands where in a record (a priority first, a time next) is told to the layers
here, which turn the states at masked positions into predictions and are no part of the embedding. Three things differ
from the paper. The layers have weights of their own, so that the encoder's last layer is trained as it is used.
Positions are sinusoids (Vaswani et al., 2017), counted from each event's start: no table, and no longest event. And
queries are the masked positions only, against keys that carry their positions, which replace the relative scores.
Shape legend: T tokens, B events, M masked positions, D width, H heads, d head width, b events of a group of length L,
Q most masked positions of one of its events.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from logfm.configs.schema.pretrain import ModelConfig
from logfm.errors import UserError
from logfm.pretrain.packing import Group, Packed

FILE = "mask_decoder.safetensors"
_INITIAL = 0.02  # standard deviation of random weights, as in DeBERTa


class _Queries(NamedTuple):
    """The masked positions `first:last` of a group, and the place (int64) of each in a grid of b rows, Q columns."""

    group: Group
    first: int
    last: int
    width: int
    place_m: torch.Tensor


class MaskDecoder(nn.Module):
    """Transformer layers from the states of all tokens to the states that predict the masked ones."""

    def __init__(self, width: int, layers: int, heads: int, intermediate: int) -> None:
        super().__init__()
        self.sizes = {"layers": layers, "heads": heads, "intermediate": intermediate}
        self.positions = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-7)
        self.layers = nn.ModuleList(_Layer(width, heads, intermediate) for _ in range(layers))
        self.apply(_initialise)

    def forward(self, states_TD: torch.Tensor, packed: Packed, positions_M: torch.Tensor) -> torch.Tensor:
        """States to predict from at the given positions (int64, packed order, any order); float (M, D)."""
        sinusoids_TD = _sinusoids(_places(packed), states_TD.shape[1]).to(states_TD.dtype)
        context_TD = self.norm(states_TD + self.positions(sinusoids_TD))
        ordered_M, order_M = positions_M.sort()
        queries = list(_queries(packed, ordered_M))
        x_MD = context_TD[ordered_M]
        for layer in self.layers:
            x_MD = layer(x_MD, context_TD, queries)
        return x_MD[order_M.argsort()]

    def save(self, folder: Path) -> None:
        """Write the weights and sizes to a file in the encoder's folder."""
        from safetensors.torch import save_file

        weights = {name: tensor.detach().float().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / FILE, {name: str(value) for name, value in self.sizes.items()})


class _Layer(nn.Module):
    """Attention from the masked positions to the tokens of their event, and a feed-forward layer."""

    def __init__(self, width: int, heads: int, intermediate: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow = nn.Linear(width, intermediate), nn.Linear(intermediate, width)
        self.attention_norm, self.output_norm = nn.LayerNorm(width, eps=1e-7), nn.LayerNorm(width, eps=1e-7)

    def forward(self, x_MD: torch.Tensor, context_TD: torch.Tensor, queries: list[_Queries]) -> torch.Tensor:
        """Updated states of the masked positions; float (M, D)."""
        q_MD, k_TD, v_TD = self.query(x_MD), self.key(context_TD), self.value(context_TD)
        parts = [self._attend(q_MD[part.first : part.last], k_TD, v_TD, part) for part in queries]
        # Without a query, keys and values stay in the graph all the same: DDP waits for their gradients.
        context_MD = torch.cat(parts) if parts else q_MD + 0 * (k_TD.sum() + v_TD.sum())
        attended_MD = self.attention_norm(x_MD + self.output(context_MD))
        fed_MD: torch.Tensor = self.output_norm(attended_MD + self.narrow(gelu(self.wide(attended_MD))))
        return fed_MD

    def _attend(self, q_mD: torch.Tensor, k_TD: torch.Tensor, v_TD: torch.Tensor, part: _Queries) -> torch.Tensor:
        group = part.group
        padded_nD = q_mD.new_zeros(group.events * part.width, q_mD.shape[1]).index_copy(0, part.place_m, q_mD)
        q_bHQd = _heads(padded_nD, group.events, part.width, self.heads)
        k_bHLd, v_bHLd = (
            _heads(_grid(flat_TD, group), group.events, group.length, self.heads) for flat_TD in (k_TD, v_TD)
        )
        mask_b11L = None if group.mask_b11L is None else group.mask_b11L.to(q_mD.dtype)
        out_bHQd = scaled_dot_product_attention(q_bHQd, k_bHLd, v_bHLd, mask_b11L)
        return out_bHQd.transpose(1, 2).reshape(padded_nD.shape).index_select(0, part.place_m)


def build_decoder(model: ModelConfig, seed: int) -> MaskDecoder | None:
    """A decoder of the model's width with random weights, the same for the same seed; None where none is asked for."""
    if not model.decoder_layers:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskDecoder(model.hidden_size, model.decoder_layers, model.heads, model.intermediate_size)


def load_decoder(folder: Path, width: int) -> MaskDecoder | None:
    """The decoder of an encoder folder of the given width; None where it has none.

    Raises:
        UserError: a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            sizes = {name: int(value) for name, value in file.metadata().items()}
            with torch.device("meta"):
                decoder = MaskDecoder(width, sizes["layers"], sizes["heads"], sizes["intermediate"])
            decoder.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()}, assign=True)  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"cannot read the mask decoder ({type(error).__name__})", path) from error
    return decoder.eval()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=_INITIAL)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _grid(flat_TD: torch.Tensor, group: Group) -> torch.Tensor:
    """A group's tokens with padding between them; float (b·L, D)."""
    tokens = flat_TD[group.start : group.stop]
    return tokens if group.gather_bL is None else tokens.index_select(0, group.gather_bL)


def _heads(flat_nD: torch.Tensor, events: int, length: int, heads: int) -> torch.Tensor:
    return flat_nD.view(events, length, heads, -1).transpose(1, 2)


def _starts(packed: Packed) -> torch.Tensor:
    """First token of each event, in packed order; int64 (B,)."""
    lengths_B = packed.lengths_B.sort().values
    return lengths_B.cumsum(0) - lengths_B


def _places(packed: Packed) -> torch.Tensor:
    """Each token's number within its event; int64 (T,)."""
    tokens = len(packed.ids_T)
    lengths_B = packed.lengths_B.sort().values
    starts_T = torch.repeat_interleave(_starts(packed), lengths_B, output_size=tokens)
    return torch.arange(tokens, device=packed.ids_T.device) - starts_T


def _sinusoids(place_T: torch.Tensor, width: int) -> torch.Tensor:
    """Sines, then cosines, of wavelengths from 2π to 20,000π tokens; float32 (T, D)."""
    halves = torch.arange(width // 2, device=place_T.device, dtype=torch.float32)
    angles = place_T[:, None] * torch.exp(-torch.log(torch.tensor(10_000.0)) * halves / max(1, width // 2))
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    return nn.functional.pad(waves, (0, width - waves.shape[1]))


def _queries(packed: Packed, ordered_M: torch.Tensor) -> Iterator[_Queries]:
    """The masked positions (ascending) of each group, laid out as a grid; groups without any are left out."""
    event_M = torch.searchsorted(_starts(packed), ordered_M, right=True) - 1
    counts_B = torch.bincount(event_M, minlength=len(packed.lengths_B))
    rank_M = torch.arange(len(ordered_M), device=ordered_M.device) - (counts_B.cumsum(0) - counts_B)[event_M]
    counts = counts_B.tolist()
    event = position = 0
    for group in packed.groups:
        here = counts[event : event + group.events]
        first, position = position, position + sum(here)
        if position > first:
            width, chosen = max(here), slice(first, position)
            yield _Queries(group, first, position, width, (event_M[chosen] - event) * width + rank_M[chosen])
        event += group.events
