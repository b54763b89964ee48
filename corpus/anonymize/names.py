"""Pseudonyms of names: 48 keyed bits as pronounceable syllables, in the shape of what they replace.

Five letters hold 16 bits (Wilkerson: A Proposal for Proquints, 2009), so that a model meets ordinary tokens.
"""

import re
from functools import lru_cache
from typing import Literal

from logfm.corpus.anonymize.key import prf

Kind = Literal["user", "host", "domain", "account", "principal"]
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aiou"
_ROLES = re.compile(r"(?:svc|srv|adm|admin|sa|a|t0|t1)[._\-]")
_SEPARATOR = re.compile(r"[._\- ]")
_ACCOUNT_HALF = 20
_ACCOUNTS = 10**12
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Pseudonyms:
    """Maps names under a key: equal names, whatever their case, have equal pseudonyms up to case."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._lower = lru_cache(maxsize=1 << 17)(self._make)

    def name(self, kind: Kind, original: str) -> str:
        """The pseudonym; in capitals where the original is, and 12 digits for an account number."""
        if kind == "account":
            return self._account(original)
        if kind == "principal":
            return self._principal(original)
        made = self._lower(kind, original.lower())
        return made.upper() if original.isupper() else made

    def _make(self, kind: Kind, lower: str) -> str:
        letters = _proquints(prf(self._key, "name", lower.encode("utf-8", "surrogatepass"), 6))
        if kind == "host":
            return f"host-{letters}"
        if kind == "domain":
            return f"dom-{letters}"
        role = _ROLES.match(lower)
        separator = _SEPARATOR.search(lower, role.end() if role else 0)
        if separator and not lower.endswith(separator[0]):
            letters = f"{letters[:5]}{separator[0]}{letters[5:]}"
        return (role[0] if role else "") + letters

    def _account(self, original: str) -> str:
        """A permutation of 12-digit numbers: a Feistel network, walked until it falls below 10^12."""
        value = int(original)
        while True:
            left, right = value >> _ACCOUNT_HALF, value & (1 << _ACCOUNT_HALF) - 1
            for turn in range(8):
                digest = prf(self._key, "account", bytes([turn]) + right.to_bytes(3, "big"), 4)
                left, right = right, left ^ int.from_bytes(digest, "big") & (1 << _ACCOUNT_HALF) - 1
            value = left << _ACCOUNT_HALF | right
            # A number of a JSON document must not begin with a zero that it did not have.
            if value < _ACCOUNTS and (value < _ACCOUNTS // 10) == original.startswith("0"):
                return f"{value:012d}"

    def _principal(self, original: str) -> str:
        """AWS principal ids keep the four letters that tell their type."""
        digest = prf(self._key, "principal", original.encode(), 32)
        return original[:4] + "".join(_BASE32[byte & 31] for byte in digest)[: len(original) - 4]


def _proquints(digest: bytes) -> str:
    out = []
    for start in range(0, len(digest), 2):
        word = int.from_bytes(digest[start : start + 2], "big")
        out += [
            _CONSONANTS[word >> 12],
            _VOWELS[word >> 10 & 3],
            _CONSONANTS[word >> 6 & 15],
            _VOWELS[word >> 4 & 3],
            _CONSONANTS[word & 15],
        ]
    return "".join(out)
