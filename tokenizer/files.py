"""The files of a tokenizer folder, readable by logfm, by `tokenizers` and by transformers' AutoTokenizer."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from logfm.configs.schema.tokenizer import PolicyConfig
from logfm.errors import UserError
from logfm.tokenizer.pieces import SPECIAL_TOKENS

TOKENIZER = "tokenizer.json"
TRANSFORMERS = "tokenizer_config.json"
LOGFM = "logfm_tokenizer.json"
FILES = (TOKENIZER, TRANSFORMERS, LOGFM)


class Facts(BaseModel):
    """What logfm adds to a tokenizer: its policy, the class of every id, and where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    policy_name: str
    policy: PolicyConfig
    delimiter_ids: list[int]
    corpus_hash: str
    sampled_bytes: dict[str, int]
    """UTF-8 bytes drawn from each source."""
    extends: str | None = None
    """Hash of the tokenizer whose ids this one keeps."""


def write(folder: Path, specification: dict[str, Any], facts: Facts) -> None:
    """Write the three files into a folder that exists."""
    (folder / TOKENIZER).write_bytes(orjson.dumps(specification, option=orjson.OPT_INDENT_2))
    (folder / TRANSFORMERS).write_bytes(orjson.dumps(_for_transformers(), option=orjson.OPT_INDENT_2))
    (folder / LOGFM).write_bytes(facts.model_dump_json(indent=1).encode())


def read(folder: Path) -> tuple[bytes, Facts]:
    """The bytes of tokenizer.json, and the facts.

    Raises:
        UserError: no tokenizer there, or a damaged or changed one.
    """
    try:
        specification = (folder / TOKENIZER).read_bytes()
        _check_for_transformers(folder / TRANSFORMERS)
        return specification, Facts.model_validate_json((folder / LOGFM).read_bytes())
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise UserError(f"not a logfm tokenizer (no {missing})", folder) from None
    except ValidationError:
        raise UserError("damaged tokenizer", folder / LOGFM, "Train it again.") from None
    except OSError as error:
        raise UserError(f"cannot read the tokenizer ({error.strerror})", folder) from None


def identity(specification: bytes, mask: np.ndarray) -> str:
    """SHA-256 over tokenizer.json and the delimiter mask (bool, (vocab_size,))."""
    return hashlib.sha256(specification + np.packbits(mask).tobytes()).hexdigest()


def _check_for_transformers(path: Path) -> None:
    """Refuse settings under which transformers would encode otherwise than we do; further keys may stand there."""
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise UserError("damaged tokenizer", path, "Train it again.")
    for name, value in _for_transformers().items():
        if name not in found or found[name] != value:
            fix = f"Copy {', '.join(FILES)} again from where they came."
            raise UserError(f"the tokenizer was changed ({name})", path, fix)


def _for_transformers() -> dict[str, Any]:
    pad, cls, sep, unk, mask = SPECIAL_TOKENS
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "cls_token": cls,
        "sep_token": sep,
        "unk_token": unk,
        "mask_token": mask,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "padding_side": "right",
        "truncation_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
    }
