"""Hashes of logfm's own code: what a figure or a vector depends on beside its inputs."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import logfm
from logfm.artifacts import digest, file_hash

_ENCODES = ("embeddings/*.py", "embeddings/backends/*.py", "tokenizer/*.py", "corpus/headers.py", "pretrain/encoder.py",
            "pretrain/forward.py", "pretrain/packing.py", "pretrain/projection.py",
            "pretrain/attention/*.py")  # fmt: skip
_MEASURES = (*_ENCODES, "embeddings/*/*.py", "finetune/*.py", "evaluation/anomaly/*.py", "evaluation/data/*.py",
             "evaluation/data/*/*.py", "evaluation/templates.py", "corpus/templates.py", "corpus/rules/*.py",
             "configs/schema/*.py", "pretrain/masking.py")  # fmt: skip
# Without them a task leaves heads out.
_OPTIONAL = ("torch_geometric", "pyod", "sigma")


@cache
def encoding() -> str:
    """Of what makes a text's vector."""
    return digest(_hashes(_ENCODES))


@cache
def measuring() -> dict[str, str]:
    """Of the rooms whose readers, heads and encoders tasks call, by file, and which optional packages are there."""
    there = {name: str(find_spec(name) is not None) for name in _OPTIONAL}
    return {"version": logfm.__version__} | there | _hashes(_MEASURES)


def _hashes(patterns: tuple[str, ...]) -> dict[str, str]:
    root = Path(logfm.__file__).parent
    found = sorted({path for pattern in patterns for path in root.glob(pattern)})
    return {path.relative_to(root).as_posix(): file_hash(path) for path in found}
