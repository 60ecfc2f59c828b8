"""Networks: one spelling each, IPv4 inside IPv6 is IPv4, no slip passes for a wish."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.domain.error import RequestInvalid
from keyturn.domain.network import (
    MOST_NETWORKS,
    Address,
    Network,
    check_networks,
    holds_address,
    holds_networks,
    parse_address,
    parse_network,
    sort_key,
    sort_range,
)


def is_mapped(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6).filter(lambda address: not is_mapped(address))
addresses = v4 | v6


@st.composite
def blocks(draw: st.DrawFn) -> Network:
    address = draw(addresses)
    prefix = draw(st.integers(0, address.max_prefixlen))
    if isinstance(address, IPv4Address):
        return IPv4Network((address, prefix), strict=False)
    return IPv6Network((address, prefix), strict=False)


def mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | int(address))


@given(addresses)
def test_an_address_comes_back_from_its_text(address: Address) -> None:
    assert parse_address(str(address)) == address
    assert parse_address(address.exploded.upper()) == address


@given(v4)
def test_an_ipv4_address_inside_ipv6_is_the_ipv4_address(address: IPv4Address) -> None:
    for text in (str(mapped(address)), f"::ffff:{address}", f"::FFFF:{address}"):
        assert parse_address(text) == address
    assert parse_network(f"::ffff:{address}") == IPv4Network(address)


@given(v4, st.integers(0, 32))
def test_an_ipv4_block_inside_ipv6_is_the_ipv4_block(address: IPv4Address, prefix: int) -> None:
    block = IPv4Network((address, prefix), strict=False)
    spelled = f"{mapped(block.network_address)}/{96 + prefix}"
    assert parse_network(spelled) == block
    assert check_networks([spelled]) == (str(block),)


@given(blocks())
def test_a_block_comes_back_from_its_text(block: Network) -> None:
    if isinstance(block, IPv6Network) and block.prefixlen >= 96:
        assume(not is_mapped(block.network_address))
    assert parse_network(str(block)) == block


@given(blocks(), st.data())
def test_bits_behind_the_prefix_are_refused(block: Network, data: st.DataObject) -> None:
    assume(block.num_addresses > 1)
    inside = data.draw(st.integers(1, block.num_addresses - 1))
    assert parse_network(f"{block.network_address + inside}/{block.prefixlen}") is None


STRANGE = [
    "",
    " ",
    "localhost",
    "1",
    "16909060",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "0x1.2.3.4",
    " 1.2.3.4",
    "1.2.3.4 ",
    "1.2.3.4\n",
    "1.2.3.4:80",
    "[::1]",
    "fe80::1%eth0",
    "fe80::1%",
    "fe80::%eth0/64",
    "::1::",
    "12345::",
    "\u0661.2.3.4",
    "1.2.3.4\0",
    "1" * 100,
    ":" * 100,
]


@pytest.mark.parametrize("text", STRANGE)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert parse_address(text) is None
    assert parse_network(text) is None


@pytest.mark.parametrize("text", ["10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "::/a"])
def test_what_is_no_block_is_refused_and_named(text: str) -> None:
    assert parse_network(text) is None
    with pytest.raises(RequestInvalid) as caught:
        check_networks(["10.0.0.0/8", text, "10.0.0.1/8"])
    assert [fault.pointer for fault in caught.value.faults] == [
        "/allowed_cidrs/1",
        "/allowed_cidrs/2",
    ]


def test_blocks_are_kept_in_one_spelling_sorted_and_each_once() -> None:
    asked = ["2001:DB8:0::/32", "10.0.0.0/255.0.0.0", "10.0.0.0/8", "192.0.2.1", "::ffff:192.0.2.1"]
    assert check_networks(asked) == ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")


def test_there_may_be_as_many_networks_as_is_said_and_no_more() -> None:
    texts = [f"10.0.{number}.0/24" for number in range(MOST_NETWORKS + 1)]
    assert len(check_networks(texts[1:])) == MOST_NETWORKS
    with pytest.raises(RequestInvalid, match="at most 100"):
        check_networks(texts)


@given(st.lists(blocks(), min_size=1, max_size=4), addresses)
def test_an_address_is_held_when_it_lies_in_a_block(found: list[Network], address: Address) -> None:
    def lies_in(block: Network) -> bool:
        first, last = int(block.network_address), int(block.broadcast_address)
        return block.version == address.version and first <= int(address) <= last

    cidrs = tuple(map(str, found))
    assert holds_address(cidrs, address) == any(map(lies_in, found))


def test_no_blocks_hold_everything_and_an_unknown_address_is_in_no_block() -> None:
    assert holds_address((), None)
    assert holds_address((), ip_address("192.0.2.1"))
    assert not holds_address(("0.0.0.0/0", "::/0"), None)
    assert not holds_networks(("0.0.0.0/0", "::/0"), ())


@given(st.lists(blocks(), max_size=3), st.lists(blocks(), max_size=3), st.data())
def test_blocks_within_blocks_hold_no_address_that_the_outer_ones_do_not(
    outer: list[Network], inner: list[Network], data: st.DataObject
) -> None:
    held, asked = tuple(map(str, outer)), tuple(map(str, inner))
    if not holds_networks(held, asked):
        return
    for block in inner:
        offset = data.draw(st.integers(0, block.num_addresses - 1))
        assert holds_address(held, block.network_address + offset)


@given(blocks(), st.data())
def test_every_part_of_a_block_is_within_it(block: Network, data: st.DataObject) -> None:
    assume(block.num_addresses > 1)
    prefix = data.draw(st.integers(block.prefixlen + 1, block.max_prefixlen))
    base = block.network_address + data.draw(st.integers(0, block.num_addresses - 1))
    part = type(block)((int(base), prefix), strict=False)
    assert holds_networks((str(block),), (str(part),))
    assert not holds_networks((str(part),), (str(block),))


@given(addresses, addresses)
def test_sort_keys_order_as_addresses_do(first: Address, second: Address) -> None:
    one, two = sort_key(first), sort_key(second)
    assert len(one) == len(two) == 32
    assert (one == two) == (first == second)
    if first.version == second.version:
        assert (one < two) == (int(first) < int(second))


@given(blocks(), st.data())
def test_the_range_of_a_block_has_its_addresses_and_no_others(
    block: Network, data: st.DataObject
) -> None:
    near = st.integers(-2, 2).map(lambda step: int(block.broadcast_address) + step)
    within = st.integers(int(block.network_address), int(block.broadcast_address))
    number = data.draw((near | within).filter(lambda n: 0 <= n < 2**block.max_prefixlen))
    address = IPv4Address(number) if block.version == 4 else IPv6Address(number)
    assume(not is_mapped(address))
    first, last = sort_range(block)
    assert (first <= sort_key(address) <= last) == (address in block)


@given(v4)
def test_an_ipv6_block_that_spans_the_ipv4_ones_holds_none_of_them(address: IPv4Address) -> None:
    """In a key `::/0` is every IPv6 address; a filter by range is wider, and shows IPv4 too."""
    assert not holds_address(("::/0",), address)
    first, last = sort_range(IPv6Network("::/0"))
    assert first <= sort_key(address) <= last
