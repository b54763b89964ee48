"""The secret key: a file of at least 32 random bytes, and the keyed function that everything is derived from."""

import hashlib
import os
import secrets
import stat
from collections import Counter
from math import log2
from pathlib import Path

from logfm.errors import UserError

KEY_BYTES = 32
_MAX_BYTES = 4096
_MIN_BITS_PER_BYTE = 2.0
_RANDOM = "Make one with: logfm corpus key FILE"


def read_key(path: str | Path) -> bytes:
    """The key in a file, as 32 bytes; hexadecimal and raw files are both read, surrounding white space is ignored.

    Raises:
        UserError: unreadable, readable by others, shorter than 32 bytes of key, or plainly not random.
    """
    try:
        mode = Path(path).stat().st_mode
        with Path(path).open("rb") as stream:
            content = stream.read(_MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot read the key file ({error.strerror})", path, _RANDOM) from None
    if not stat.S_ISREG(mode):
        raise UserError("the key is not a regular file", path, _RANDOM)
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError("others may read the key file", path, f"Run: chmod 600 {path}")
    secret = _decoded(content)
    if len(secret) < KEY_BYTES:
        raise UserError(f"the key has {len(secret)} bytes, {KEY_BYTES} are needed", path, _RANDOM)
    if _entropy(secret) < _MIN_BITS_PER_BYTE:
        raise UserError("the key repeats itself and is not random", path, _RANDOM)
    return hashlib.blake2b(secret, digest_size=KEY_BYTES, person=b"logfm-anon-key").digest()


def write_key(path: str | Path) -> bytes:
    """Make a new random key file (mode 600, hexadecimal) and return its key; an existing file is never touched.

    Raises:
        UserError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UserError(f"cannot make the key file ({error.strerror})", path) from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{secrets.token_hex(KEY_BYTES)}\n")
    return read_key(path)


def key_id(key: bytes) -> str:
    """A name for the key that tells nothing about it (16 hex digits), for manifests and for resuming."""
    return prf(key, "id", b"", 8).hex()


def keyed_hash(key: bytes, content: str) -> str:
    """What stands for the hash of an input where guesses at it must not be confirmed (64 hex digits)."""
    return prf(key, "content", content.encode(), 32).hex()


def keyed_event_id(key: bytes, event_id: str) -> str:
    """The `event_id` of an anonymised event, from that of the original one (24 hex digits)."""
    return prf(key, "event", event_id.encode(), 12).hex()


def prf(key: bytes, purpose: str, data: bytes, size: int) -> bytes:
    """Keyed BLAKE2b of `data`: `size` bytes (up to 64), independent between purposes (at most 16 bytes)."""
    return hashlib.blake2b(data, digest_size=size, key=key, person=purpose.encode()).digest()


def _decoded(content: bytes) -> bytes:
    stripped = content.strip()
    try:
        return bytes.fromhex(stripped.decode("ascii"))
    except ValueError:
        return stripped


def _entropy(secret: bytes) -> float:
    """Shannon entropy of the byte values (bits a byte): 32 random bytes have 4.5 or more."""
    shares = [count / len(secret) for count in Counter(secret).values()]
    return -sum(share * log2(share) for share in shares)
