"""The guard: the public internet and what is allowed, however an address is written."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.ambient import SystemClock
from keyturn.outbound.client import GuardedOutbound
from keyturn.outbound.contract import OutboundFault, OutboundFaultKind
from keyturn.outbound.dialing import resolve_by_system
from keyturn.outbound.guard import AddressGuard, AllowedNetwork, carried, is_public, parse_allowed
from keyturn.outbound.url import UrlRefused, parse_call_url
from tests.outbound.hostile import INSIDE, NO_ADDRESSES, OUTSIDE

NOTHING = AddressGuard()


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(set(NO_ADDRESSES)) + len(set(INSIDE)) >= 200


@pytest.mark.parametrize("url", NO_ADDRESSES, ids=ascii)
def test_what_two_readers_could_read_differently_is_no_address(url: str) -> None:
    with pytest.raises(UrlRefused) as caught:
        parse_call_url(url)
    assert not url.strip() or len(url) < 9 or url not in str(caught.value)

    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(OutboundFault) as fault:
        GuardedOutbound(NOTHING, SystemClock(), resolve).send("GET", url, headers={})
    assert fault.value.kind is OutboundFaultKind.REFUSED


@pytest.mark.parametrize("url", INSIDE)
def test_what_leads_inside_is_refused_however_it_is_spelled(url: str) -> None:
    parts = parse_call_url(url)
    try:
        found = resolve_by_system(parts.host, parts.port)
    except OSError:
        return  # this machine's resolver does not read it as an address at all
    assert found
    assert not any(NOTHING.admits(ip, parts.port) for ip in found)


@pytest.mark.parametrize("ip", OUTSIDE)
def test_the_public_internet_is_reached_by_https(ip: str) -> None:
    assert NOTHING.admits(ip, 443)
    assert not NOTHING.admits(ip, 443, is_plain=True)
    assert not NOTHING.admits(ip, 0)
    assert not NOTHING.admits(ip, 65_536)
    assert not NOTHING.admits(f"{ip}%1", 443)


addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(addresses)
def test_no_address_is_public_that_python_calls_special(
    address: IPv4Address | IPv6Address,
) -> None:
    if is_public(carried(address)):
        meant = carried(address)
        assert meant.is_global
        for special in (
            "multicast",
            "private",
            "loopback",
            "link_local",
            "reserved",
            "unspecified",
        ):
            assert not getattr(meant, f"is_{special}")


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_admitted_only_where_the_plain_one_is(address: IPv4Address) -> None:
    plain = NOTHING.admits(str(address), 443)
    for base in (0xFFFF << 32, 0x64FF9B << 96):
        assert NOTHING.admits(str(IPv6Address(base | int(address))), 443) is plain
    for refused in (
        int(address),  # IPv4-compatible
        0x2002 << 112 | int(address) << 80,  # 6to4
        0x20010000 << 96 | int(address) ^ 0xFFFF_FFFF,  # Teredo
        0x26064700 << 96 | 0x5EFE << 32 | int(address),  # ISATAP
    ):
        assert not NOTHING.admits(str(IPv6Address(refused)), 443)


@given(st.text(max_size=40))
def test_what_is_no_address_is_not_admitted(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        assert not NOTHING.admits(text, 443)


# --- what the operator allows --------------------------------------------------------------------


def test_the_setting_names_networks_and_lone_ports() -> None:
    text = "127.0.0.1:8200, 10.0.0.0/8,[::1]:8200 ,fd00::/8, [fd01::/16]:443, 10.1.0.0/16:6443, ::1"
    assert [str(one) for one in parse_allowed(text)] == [
        "127.0.0.1:8200",
        "10.0.0.0/8",
        "[::1]:8200",
        "fd00::/8",
        "[fd01::/16]:443",
        "10.1.0.0/16:6443",
        "::1/128",
    ]
    assert parse_allowed("") == parse_allowed(" , ,") == ()


def test_each_allowed_network_comes_back_from_its_text() -> None:
    for one in parse_allowed("127.0.0.1:8200, 10.0.0.0/8, [::1]:8200, fd00::/8, [fd01::/16]:443"):
        assert parse_allowed(str(one)) == (one,)


@pytest.mark.parametrize(
    "text",
    ["localhost", "localhost:8200", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1:", "127.0.0.1:0",
     "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:\u0661", "[::1]", "[::1]:", "[::1", "[::1]8200",
     "[127.0.0.1]:80", "127.0.0.1:80:90", "fe80::1%eth0", "*", "10.0.0.0/8 10.1.0.0/16",
     "https://127.0.0.1", "127.1", "2130706433", "[]:80", "127.0.0.1:99999999999999"],
)  # fmt: skip
def test_a_slip_in_the_setting_is_said(text: str) -> None:
    if text == "[::1]":  # the one that is clear enough
        assert parse_allowed(text) == parse_allowed("::1")
        return
    with pytest.raises(ValueError, match="`"):
        parse_allowed(f"10.0.0.0/8, {text}")


def test_an_allowed_network_is_admitted_for_its_port_and_by_plain_http() -> None:
    guard = AddressGuard(parse_allowed("127.0.0.1:8200, fd00::/8"))
    for is_plain in (False, True):
        assert guard.admits("127.0.0.1", 8200, is_plain=is_plain)
        assert guard.admits("::ffff:127.0.0.1", 8200, is_plain=is_plain)
        assert guard.admits("fd00::1", 1, is_plain=is_plain)
        assert not guard.admits("127.0.0.1", 8201, is_plain=is_plain)
        assert not guard.admits("127.0.0.2", 8200, is_plain=is_plain)
        assert not guard.admits("10.0.0.1", 8200, is_plain=is_plain)
        assert not guard.admits("::1", 8200, is_plain=is_plain)
    assert guard.admits("8.8.8.8", 443)
    assert isinstance(guard.allowed[0], AllowedNetwork)


def test_an_address_is_read_into_its_parts_and_hides_its_target() -> None:
    parts = parse_call_url("HTTPS://Vault.Example:8200/v1/secret?x=1")
    assert (parts.scheme, parts.host, parts.port) == ("https", "vault.example", 8200)
    assert parts.target == "/v1/secret?x=1"
    assert "secret" not in repr(parts)
    assert parse_call_url("https://vault.example").target == "/"
    assert parse_call_url("https://vault.example?x").target == "/?x"
    assert parse_call_url("http://[FD00::1]").port == 80
