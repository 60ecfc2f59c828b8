"""Networks: where a key may be used from, as CIDR blocks (RFC 4632, RFC 4291)."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from keyturn.domain.error import Fault, RequestInvalid

MOST_NETWORKS = 100

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=4_096)
def parse_address(text: str) -> Address | None:
    """The address that `text` spells, or None. An IPv4 address inside IPv6 is the IPv4 address.

    Zone names (`fe80::1%eth0`) are refused: they mean nothing on another machine.
    """
    if len(text) > 64 or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_network(text: str) -> Network | None:
    """The block that `text` spells (a lone address is a block of one), or None.

    Bits behind the prefix are refused: `10.0.0.1/8` is more likely a slip than a wish.
    """
    if len(text) > 64 or "%" in text:
        return None
    try:
        network = ip_network(text)
    except ValueError:
        return None
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def check_networks(values: Iterable[str], pointer: str = "/allowed_cidrs") -> tuple[str, ...]:
    """The blocks in their one spelling, sorted. Raises `RequestInvalid` naming each other one."""
    texts = list(values)
    if len(texts) > MOST_NETWORKS:
        raise RequestInvalid.at(pointer, f"There may be at most {MOST_NETWORKS} networks.")
    networks = [parse_network(text) for text in texts]
    faults = tuple(
        Fault(
            pointer=f"{pointer}/{index}",
            detail="This is a block of addresses like `10.0.0.0/8` or `2001:db8::/32`, "
            "with no bits set behind the prefix.",
        )
        for index, network in enumerate(networks)
        if network is None
    )
    if faults:
        raise RequestInvalid(faults[0].detail, faults)
    return tuple(sorted({str(network) for network in networks}))


@lru_cache(maxsize=4_096)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


def holds_address(cidrs: tuple[str, ...], address: Address | None) -> bool:
    """Whether `address` is in a block. No blocks hold everything; an unknown address is in none."""
    if not cidrs:
        return True
    return address is not None and any(address in network for network in _networks(cidrs))


def holds_networks(cidrs: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    """Whether every block of `asked` lies in a block of `cidrs`. No blocks mean everywhere."""
    if not cidrs:
        return True
    return bool(asked) and all(
        any(_is_within(inner, outer) for outer in _networks(cidrs)) for inner in _networks(asked)
    )


def _is_within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )


def sort_key(address: Address) -> str:
    """32 hexadecimal digits that sort as addresses do, IPv4 as mapped into IPv6."""
    value = int(address)
    if isinstance(address, IPv4Address):
        value |= 0xFFFF << 32
    return f"{value:032x}"


def sort_range(network: Network) -> tuple[str, str]:
    """The first and the last `sort_key` of a block."""
    return sort_key(network.network_address), sort_key(network.broadcast_address)
