"""oneDNN's linear layer in float32, which PyTorch leaves to MKL: half again as fast on an AMD processor."""

import torch
from torch import nn
from transformers import DebertaV2ForMaskedLM


class OneDnnLinear(nn.Linear):
    """A linear layer with the same weights and, up to rounding, the same result."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The product plus the bias; float (..., out)."""
        return super().forward(input) if self.is_plain(input) else self.fused(input, "none", "")

    def is_plain(self, input: torch.Tensor) -> bool:
        """Whether torch's own product has to do."""
        plain = input.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled()
        return plain or input.device.type != "cpu" or not input.numel()

    def fused(self, input: torch.Tensor, activation: str, kind: str) -> torch.Tensor:
        """The product plus the bias, with an activation on the way."""
        # Not public, but what torch.compile itself makes of a linear layer on a CPU.
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, activation, [], kind)
        return found


class OneDnnIntermediate(nn.Module):
    """A layer's wide product and its GELU in one pass over memory; the same result up to rounding."""

    def __init__(self, dense: OneDnnLinear, activation: nn.Module) -> None:
        super().__init__()
        self.dense, self.intermediate_act_fn = dense, activation

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The product plus the bias, through the activation; float (..., out)."""
        if self.dense.is_plain(hidden_states):
            found: torch.Tensor = self.intermediate_act_fn(self.dense(hidden_states))
            return found
        return self.dense.fused(hidden_states, "gelu", "none")


def use_onednn(model: DebertaV2ForMaskedLM) -> None:
    """Change the layers of a model in place; names and weights stay. Nothing happens where torch has no oneDNN."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    layers = model.deberta.encoder.layer
    for name, module in list(layers.named_modules()):
        if type(module) is nn.Linear:
            changed = OneDnnLinear(module.in_features, module.out_features, device="meta")
            changed.weight, changed.bias = module.weight, module.bias
            layers.set_submodule(name, changed)
    if model.config.hidden_act == "gelu":
        for layer in layers:
            layer.intermediate = OneDnnIntermediate(layer.intermediate.dense, layer.intermediate.intermediate_act_fn)
