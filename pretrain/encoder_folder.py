"""What an encoder folder is, without loading its model: file names, limits, identity."""

import json
from pathlib import Path

from logfm.artifacts import digest, file_hash
from logfm.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
TOKENIZER_HASH = "logfm_tokenizer"  # a key of config.json
_LIMITS = "sentence_bert_config.json"


def check_folder(folder: Path) -> None:
    """Look for the files of an encoder.

    Raises:
        UserError: one is missing.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
        raise UserError("not an encoder folder (config.json and model.safetensors)", folder)


def check_tokenizer(folder: Path, tokenizer_hash: str) -> None:
    """Compare the folder's tokenizer with the one that its model was trained with, as far as the folder says which.

    Raises:
        UserError: it is another one, whatever its size.
    """
    known = json.loads((folder / CONFIG).read_bytes()).get(TOKENIZER_HASH, tokenizer_hash)
    if known != tokenizer_hash:
        raise UserError("the tokenizer is not the one that this encoder was trained with", folder, "Export it again.")


def identity(folder: Path, tokenizer_hash: str) -> str:
    """SHA-256 of weights and tokenizer: vectors of different encoders don't mix."""
    return digest({"weights": file_hash(folder / WEIGHTS), "tokenizer": tokenizer_hash})


def trained_tokens(folder: Path) -> int:
    """Longest sequence of the training, [CLS] and [SEP] included.

    Raises:
        UserError: the folder does not say.
    """
    path = folder / _LIMITS
    try:
        return max(3, int(json.loads(path.read_bytes())["max_seq_length"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("damaged encoder folder", path, "Export the encoder again.") from error
