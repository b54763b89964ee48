"""The bytes behind a byte-level vocabulary: each byte is written as one printable character (GPT-2's
table)."""

from functools import lru_cache

SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
"""The first ids of every vocabulary, in this order."""


@lru_cache(maxsize=1)
def byte_of_character() -> dict[str, int]:
    """The byte that each of the 256 characters of a byte-level vocabulary stands for."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + index): byte for index, byte in enumerate(rest)})
    return table


def piece_bytes(token: str) -> bytes:
    """The bytes of a vocabulary entry.

    Raises:
        KeyError: a character that is not in the byte-level alphabet.
    """
    table = byte_of_character()
    return bytes(table[character] for character in token)


def readable(piece: bytes) -> str:
    """A token's bytes as text for display; bytes that are no whole character are written `\\xNN`."""
    return piece.decode("utf-8", "backslashreplace")
