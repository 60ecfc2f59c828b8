"""Which addresses may be connected to: the public internet, and what the operator has allowed.

1. What is not public unicast is refused: private, loopback, link-local (where clouds keep their
   metadata), shared, reserved, multicast. The lists are ours, after the IANA registries of special
   addresses, so that no version of Python judges otherwise.
2. An IPv4 address that an IPv6 one carries (mapped, NAT64) is judged as itself. Other carriers
   (6to4, Teredo, ISATAP) are tunnels that nobody needs and are refused as they are.
3. A network that the operator has allowed covers an address, for one port or for all.
4. Plain http goes to allowed networks only.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from keyturn.domain.network import Address, Network, parse_network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host that an Azure machine runs on
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")  # all that is given out as global unicast
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")  # 2001::/32 is Teredo
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, the upper half of the interface's number

_ALLOWED_SPELLING = "write networks as `10.0.0.0/8`, `127.0.0.1:8200`, `[::1]:8200` or `fd00::/8`"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedNetwork:
    """A network that may be connected to though it is not public; no port means all."""

    network: Network
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return str(self.network)
        host = str(self.network.network_address)
        if self.network.prefixlen < self.network.max_prefixlen:
            host = str(self.network)
        return f"[{host}]:{self.port}" if self.network.version == 6 else f"{host}:{self.port}"

    def covers(self, address: Address, port: int) -> bool:
        return self.port in (None, port) and address in self.network


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """Judges addresses; knows no names."""

    allowed: tuple[AllowedNetwork, ...] = ()

    def admits(self, ip: str, port: int, *, is_plain: bool = False) -> bool:
        """Whether a connection to the address may be opened. What is no address is not admitted."""
        if not 1 <= port <= 65_535 or "%" in ip:  # a zone names an interface of this machine
            return False
        try:
            address = carried(ip_address(ip))
        except ValueError:
            return False
        if any(one.covers(address, port) for one in self.allowed):
            return True
        return is_public(address) and not is_plain


def carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet, given out to one machine."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address not in _PUBLIC_V6 or any(address in network for network in _NOT_PUBLIC_V6):
        return False
    return not _is_isatap(address)


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP


def parse_allowed(text: str) -> tuple[AllowedNetwork, ...]:
    """The networks that a setting names, parted by commas. ValueError says which is none."""
    parts = [part.strip() for part in text.split(",")]
    return tuple(_parse_one(part) for part in parts if part)


def _parse_one(text: str) -> AllowedNetwork:
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(f"`{text}` is no network: {_ALLOWED_SPELLING}")
        port = rest[1:]
        has_port = bool(rest)
    else:
        has_port = text.count(":") == 1
        if has_port:
            host, _, port = text.partition(":")
    network = parse_network(host)
    if network is None:
        raise ValueError(
            f"`{text}` is no network: {_ALLOWED_SPELLING}, with no bits set behind the prefix"
        )
    return AllowedNetwork(network=network, port=_parse_port(port, text) if has_port else None)


def _parse_port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise ValueError(f"`{text}` has no port of 1 to 65535 behind its colon")
    return int(port)
