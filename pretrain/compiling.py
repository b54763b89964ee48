"""`torch.compile` for the parts of a layer that see no event boundaries: projections out, norms, feed-forward.

Attention on a packed batch runs through kernels of its own and Python that differs by batch, which a graph would break
at. What lies between two attentions is compiled, once for all numbers of tokens.
"""

from transformers import DebertaV2ForMaskedLM


def compile_layers(model: DebertaV2ForMaskedLM) -> None:
    """Compile a model's layers in place, from the next call on; names and weights stay what they are."""
    for layer in model.deberta.encoder.layer:
        for module in (layer.attention.output, layer.intermediate, layer.output):
            module.compile(dynamic=True)
