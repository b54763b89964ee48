from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.corpus.anonymize.addresses import Addresses

ADDRESSES = Addresses(bytes(range(32)))
SPECIAL = ["0.0.0.0", "127.0.0.1", "127.0.1.1", "255.255.255.255", "255.255.255.0", "224.0.0.251", "169.254.169.254"]
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"]


def shared(one: int, two: int, width: int) -> int:
    return width - (one ^ two).bit_length()


@given(st.lists(st.ip_addresses(v=4), min_size=2, max_size=12))
def test_prefixes_of_all_ipv4_pairs_are_preserved(found):
    for one, two in combinations(found, 2):
        mapped = [int(IPv4Address(ADDRESSES.ipv4(str(address)))) for address in (one, two)]
        assert shared(int(one), int(two), 32) == shared(*mapped, 32)


@given(st.lists(st.ip_addresses(network="2001:db8::/32"), min_size=2, max_size=5))
def test_prefixes_of_all_ipv6_pairs_are_preserved(found):
    for one, two in combinations(found, 2):
        mapped = [int(IPv6Address(ADDRESSES.ipv6(str(address)))) for address in (one, two)]
        assert shared(int(one), int(two), 128) == shared(*mapped, 128)


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_stay(address):
    assert ADDRESSES.ipv4(address) == address


@pytest.mark.parametrize("address", ["::", "::1", "ff02::1"])
def test_special_ipv6_addresses_stay(address):
    assert ADDRESSES.ipv6(address) == address


@given(st.ip_addresses(v=4))
def test_private_stays_private_and_nothing_else_becomes_so(address):
    mapped = IPv4Address(ADDRESSES.ipv4(str(address)))
    for network in map(ip_network, (*PRIVATE, "127.0.0.0/8", "224.0.0.0/3")):
        assert (address in network) == (mapped in network)


def test_most_addresses_change():
    addresses = [f"{first}.{second}.7.9" for first in range(11, 90, 7) for second in range(0, 250, 9)]
    assert sum(ADDRESSES.ipv4(address) == address for address in addresses) <= 2


def test_a_mapped_ipv4_address_is_that_address():
    assert ADDRESSES.ipv6("::ffff:10.1.2.3") == f"::ffff:{ADDRESSES.ipv4('10.1.2.3')}"


@given(st.integers(1, (1 << 48) - 2), st.integers(1, (1 << 48) - 2))
def test_macs_are_a_permutation_that_keeps_group_and_local_bits(one, two):
    texts = [f"{value:012x}" for value in (one, two)]
    mapped = [ADDRESSES.mac(text) for text in texts]
    assert (one == two) == (mapped[0] == mapped[1])
    assert [int(text[:2], 16) & 3 for text in texts] == [int(text[:2], 16) & 3 for text in mapped]


def test_macs_keep_their_separators_and_case():
    mapped = ADDRESSES.mac("00:0C:29:AB:CD:EF")
    assert mapped.count(":") == 5
    assert mapped == mapped.upper()
    assert ADDRESSES.mac("000c.29ab.cdef").replace(".", "") == mapped.replace(":", "").lower()
    assert ADDRESSES.mac("ff:ff:ff:ff:ff:ff") == "ff:ff:ff:ff:ff:ff"
