"""The caller's address: never one that an untrusted hop could have written."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.domain.network import Address, parse_address
from keyturn.http.origin import caller_address

PEER = ("10.0.0.9", 4711)
INSIDE = st.integers(0, 2**16 - 1).map(lambda number: f"10.9.{number >> 8}.{number & 255}")
ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number))),
    st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number))),
)
# What an untrusted hop may send: addresses, lists of them, and things that are none.
WRITTEN = st.lists(
    st.one_of(
        ADDRESSES,
        st.lists(ADDRESSES, max_size=4).map(", ".join),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    ),
    max_size=4,
)


def headers(values: list[str], name: bytes = b"x-forwarded-for") -> list[tuple[bytes, bytes]]:
    return [(name, value.encode("latin-1")) for value in values]


def forwarded(written: list[str], chain: list[str]) -> list[str]:
    """What arrives when each trusted hop appends to the header the address it was called from."""
    if not chain:
        return written
    return [*written[:-1], ", ".join([*written[-1:], *chain])] if written else [", ".join(chain)]


@given(written=WRITTEN, client=ADDRESSES, inner=st.lists(INSIDE, max_size=4), split=st.booleans())
def test_an_address_written_by_an_untrusted_hop_is_never_taken(
    written: list[str], client: str, inner: list[str], split: bool
) -> None:
    """`client` called the outermost of `len(inner) + 1` trusted hops, having written `written`."""
    chain = [client, *inner]
    arrived = [*written, *chain] if split else forwarded(written, chain)
    assert caller_address(PEER, headers(arrived), len(chain)) == parse_address(client)


@given(written=WRITTEN)
def test_without_a_trusted_hop_the_header_is_not_looked_at(written: list[str]) -> None:
    assert caller_address(PEER, headers(written), 0) == IPv4Address("10.0.0.9")


@given(
    written=WRITTEN, proxies=st.integers(0, 16), peer=st.sampled_from([None, [], PEER, ("x", 1)])
)
def test_any_header_gives_an_address_or_none(
    written: list[str], proxies: int, peer: tuple[object, ...] | None
) -> None:
    found = caller_address(peer, headers(written), proxies)
    assert found is None or isinstance(found, IPv4Address | IPv6Address)


@pytest.mark.parametrize(
    "written", ["unknown", "_hidden", "1.2.3.4:80", "[::1]:80", "fe80::1%eth0", ""]
)
def test_what_a_trusted_hop_could_not_tell_is_not_known(written: str) -> None:
    assert caller_address(PEER, headers([f"1.1.1.1, {written}"]), 1) is None


def test_only_one_header_counts() -> None:
    sent = headers(["1.1.1.1"], b"forwarded") + headers(["2.2.2.2"], b"x-real-ip")
    assert caller_address(PEER, sent, 1) == IPv4Address("10.0.0.9")


@pytest.mark.parametrize(
    ("text", "address"),
    [("::ffff:1.2.3.4", IPv4Address("1.2.3.4")), ("2001:DB8::1", IPv6Address("2001:db8::1"))],
)
def test_an_address_has_one_reading(text: str, address: Address) -> None:
    assert caller_address(PEER, headers([text]), 1) == address
    assert caller_address((text, 1), [], 0) == address
