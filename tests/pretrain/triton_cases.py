"""The Triton attention held to the eager one on random packings; run as a script, it does so in Triton's interpreter.

Prints the largest errors of each packing: the output without and with gradients, then each gradient. The interpreter
runs the kernels' own code on the CPU.
"""

import sys
from types import FunctionType

import numpy as np
import torch

from logfm.pretrain.attention import Buckets, packed_attention
from logfm.pretrain.packing import pack

# Lengths of one token, across a tile and a span, with and without distances beyond the last bucket.
PACKINGS = {"one": [1], "mixed": [3, 40, 17, 1, 33, 70], "equal": [64, 64], "short": [2, 2, 5, 9]}
WIDTH, HEADS = 32, 2


def inputs(name, dtype=torch.float32, device="cpu"):
    """A packed batch, q, k, v, the two tables, and what the output is weighted by."""
    lengths = PACKINGS[name]
    packed = pack([np.full(length, 7) for length in lengths])
    generator = torch.Generator().manual_seed(len(name))
    shapes = [(sum(lengths), HEADS, WIDTH)] * 3 + [(HEADS, 16, WIDTH)] * 2
    tensors = [torch.randn(*shape, generator=generator).to(device, dtype).requires_grad_() for shape in shapes]
    weights = torch.randn(sum(lengths), HEADS * WIDTH, generator=generator).to(device)
    return packed.to(torch.device(device)), tensors, weights


def results(attention, packed, tensors, weights):
    """The output and the gradients of q, k, v and the tables, float32."""
    out = packed_attention(attention)(*tensors, Buckets(8, 40), packed)
    gradients = torch.autograd.grad((out.float() * weights).sum(), tensors)
    return [one.detach().float() for one in (out, *gradients)]


def main():
    """Compare in the interpreter: its kernels take no CPU tensors unless the package is told that they may."""
    from disentangled_flash.training import _kernels
    from disentangled_flash.tuning import KernelConfig

    from logfm.pretrain.attention import triton

    public = _kernels.training_attention_packed
    code = public.__code__.replace(co_consts=tuple("cpu" if c == "cuda" else c for c in public.__code__.co_consts))
    _kernels.training_attention_packed = FunctionType(code, public.__globals__)
    _kernels.training_attention_packed.__kwdefaults__ = public.__kwdefaults__
    torch.library.wrap_triton = lambda kernel: kernel
    tile = KernelConfig(16, 32, 4)
    triton._launches = lambda *_: {"forward_config": tile, "dq_config": tile, "dkv_config": tile}
    for name in PACKINGS:
        batch = inputs(name)
        # A batch seen in inference mode first must not spoil the training that follows.
        with torch.inference_mode():
            without_grad = packed_attention("triton")(*batch[1], Buckets(8, 40), batch[0])
        ours, expected = results("triton", *batch), results("eager", *batch)
        pairs = [(without_grad, expected[0]), *zip(ours, expected, strict=True)]
        errors = " ".join(str((one - other).abs().max().item()) for one, other in pairs)
        sys.stdout.write(f"{name} {errors}\n")


if __name__ == "__main__":
    main()
