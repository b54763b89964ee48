"""IP and MAC addresses: prefix-preserving, special ranges in their place.

Crypto-PAn (Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address Anonymization, ICNP 2002) with keyed BLAKE2b as its
pseudorandom function: bit i is flipped by a bit that depends on the i bits before it. No bit is flipped on the way to
a special range, so that private stays private, nothing public falls into a special range, and prefixes are preserved
over the whole space. The price: a public address that shares leading bits with a special range keeps those bits.
Prefix preservation itself gives away structure: who knows some true addresses learns the shared prefixes of others.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network

from logfm.corpus.anonymize.key import prf

# Ranges that map onto themselves; `fixed` ones also keep every bit behind the prefix.
_INSIDE_4 = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"]
# 169.254.169.254 is the clouds' metadata service: reaching for it is how an attack is recognised.
_FIXED_4 = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "169.254.169.254/32"]
_INSIDE_6 = ["fe80::/64", "fc00::/7", "2000::/3"]
_FIXED_6 = ["::/128", "::1/128", "ff00::/8"]
_MAPPED_4 = 0xFFFF << 32
_MAC_HALF = 23


class Addresses:
    """Maps addresses under a key; its caches hold 131,072 prefixes a family."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._v4 = _permutation(key, "ip4", 32, _INSIDE_4, _FIXED_4)
        self._v6 = _permutation(key, "ip6", 128, _INSIDE_6, _FIXED_6)

    def ipv4(self, text: str) -> str:
        """Map a dotted quad; zeros that pad its parts are dropped.

        Raises:
            ValueError: not an IPv4 address.
        """
        return str(IPv4Address(self._v4(int(_address(text)))))

    def ipv6(self, text: str) -> str:
        """Map an IPv6 address without a zone; an IPv4-mapped one maps as its IPv4 address.

        Raises:
            ValueError: not an IPv6 address.
        """
        number = int(IPv6Address(text))
        if number >> 32 == _MAPPED_4 >> 32:
            return f"::ffff:{IPv4Address(self._v4(number & 0xFFFFFFFF))}"
        mapped = IPv6Address(self._v6(number))
        if mapped == IPv6Address(number):
            return text
        return str(mapped).upper() if any("A" <= char <= "F" for char in text) else str(mapped)

    def mac(self, text: str) -> str:
        """Map 12 hex digits with any separators: a permutation of 46 bits; the group and local bits stay."""
        digits = [char for char in text if char.isalnum()]
        value = int("".join(digits), 16)
        if value in (0, (1 << 48) - 1):
            return text
        kept = value >> 40 & 0b11
        bits = value >> 42 << 40 | value & (1 << 40) - 1
        bits = self._feistel(bits)
        mapped = f"{bits >> 40 << 42 | kept << 40 | bits & (1 << 40) - 1:012x}"
        fresh = iter(mapped.upper() if text.upper() == text else mapped)
        return "".join(next(fresh) if char.isalnum() else char for char in text)

    def _feistel(self, value: int) -> int:
        left, right = value >> _MAC_HALF, value & (1 << _MAC_HALF) - 1
        for turn in range(8):
            digest = prf(self._key, "mac", bytes([turn]) + right.to_bytes(3, "big"), 4)
            left, right = right, left ^ int.from_bytes(digest, "big") & (1 << _MAC_HALF) - 1
        return left << _MAC_HALF | right


def is_public(text: str) -> bool:
    """Whether a dotted quad lies outside of the special and private IPv4 ranges.

    Raises:
        ValueError: not an IPv4 address.
    """
    address = _address(text)
    return not any(address in network for network in _SPECIAL_4)


_SPECIAL_4 = [ip_network(text) for text in (*_INSIDE_4, *_FIXED_4)]


def _address(text: str) -> IPv4Address:
    return IPv4Address(".".join(str(int(part)) for part in text.split(".")))


def _permutation(
    key: bytes, purpose: str, width: int, inside: Iterable[str], fixed: Iterable[str]
) -> Callable[[int], int]:
    """The prefix-preserving permutation of `width`-bit integers."""
    steady: set[tuple[int, int]] = set()
    ends: set[tuple[int, int]] = set()
    for text in (*inside, *fixed):
        network = ip_network(text)
        number, length = int(network.network_address), network.prefixlen
        steady.update((bits, number >> (width - bits)) for bits in range(length))
        if text in fixed:
            ends.add((length, number >> (width - length)))
    lengths = sorted({length for length, _ in ends})

    @lru_cache(maxsize=1 << 17)
    def flip(bits: int, prefix: int) -> int:
        """Whether the bit behind the first `bits` bits is flipped: 0 or 1."""
        if (bits, prefix) in steady:
            return 0
        return prf(key, purpose, bytes([bits]) + prefix.to_bytes(16, "big"), 1)[0] & 1

    def permute(number: int) -> int:
        if any((length, number >> (width - length)) in ends for length in lengths):
            return number
        out = 0
        for bits in range(width):
            out = out << 1 | (number >> (width - bits - 1) & 1) ^ flip(bits, number >> (width - bits))
        return out

    return lru_cache(maxsize=1 << 17)(permute)
