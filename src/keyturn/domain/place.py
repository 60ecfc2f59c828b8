"""The place of a call: where it came from, coarse enough that one more pod is no new place.

The name of the network where the workspace has named it. Else, of an address that means something
only inside somebody's network, the block that it is of: pods come and go within it. Of a public
address the block that is commonly one provider's region (a /16, or a /32 of IPv6). A place does not
prove who calls; it shows that somebody calls from where a runtime never did.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, ip_network

from keyturn.domain.network import Address, Network, holds_address, parse_network
from keyturn.domain.runtime import NamedNetwork

_PRIVATE: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)


def is_same_place(one: str, other: str, networks: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether two places share addresses: a block may have got a name since it was seen. Of a name
    that is gone it cannot be said, and it is held against nobody."""
    if one == other:
        return True
    mine, others = (_blocks(place, networks.get(place)) for place in (one, other))
    if not mine or not others:
        return True
    return any(a.version == b.version and a.overlaps(b) for a in mine for b in others)


@lru_cache(maxsize=65_536)
def _blocks(place: str, cidrs: tuple[str, ...] | None) -> list[Network]:
    found = (parse_network(text) for text in cidrs or (place,))
    return [block for block in found if block is not None]


def means_something_inside(address: Address) -> bool:
    """Whether an address means something only inside somebody's network."""
    return _block_within(address) is not None


def _block_within(address: Address) -> Network | None:
    for block in _PRIVATE:
        if address.version == block.version and address in block:
            return block
    return None


@lru_cache(maxsize=65_536)
def name_of(address: Address | None, networks: tuple[NamedNetwork, ...]) -> str | None:
    """The workspace's name for the network of an address, None where it has none."""
    if address is None:
        return None
    for named in networks:
        if holds_address(named.cidrs, address):
            return named.name
    return None


@lru_cache(maxsize=65_536)
def place_of(address: Address | None, networks: tuple[NamedNetwork, ...] = ()) -> str | None:
    """The place of a call from `address`, None where that is not known."""
    if address is None:
        return None
    name = name_of(address, networks)
    if name is not None:
        return name
    block = _block_within(address)
    if block is not None:
        return str(block)
    width = 16 if isinstance(address, IPv4Address) else 32
    return str(ip_network((int(address), address.max_prefixlen)).supernet(new_prefix=width))
