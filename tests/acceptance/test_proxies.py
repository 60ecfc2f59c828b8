"""Section 7 and the issue: the caller's address, never from a header that anyone can write."""

from collections.abc import Callable

import pytest

from tests.acceptance.api import Site, Workspace, expect, label
from tests.acceptance.servers import on_one_engine


def seen_address(workspace: Workspace, *forwarded: str) -> str | None:
    """The address that a management call with these headers is recorded from."""
    name = label()
    response = workspace.admin.client.request(
        "GET",
        "/v1/self",
        headers=[
            ("Authorization", f"Bearer {workspace.admin.token}"),
            ("X-Request-Id", name),
            ("X-Real-IP", "203.0.113.99"),
            ("Forwarded", "for=203.0.113.98"),
            ("CF-Connecting-IP", "203.0.113.97"),
            *(("X-Forwarded-For", value) for value in forwarded),
        ],
    )
    expect(response, 200)
    ip: str | None = workspace.requests(request_id=name)[0]["ip"]
    return ip


@pytest.mark.parametrize(
    "forwarded", [(), ("10.0.0.1",), ("10.0.0.1, 10.0.0.2",), ("garbage",), ("",)], ids=str
)
def test_without_trusted_proxies_no_header_is_believed(
    common: Workspace, forwarded: tuple[str, ...]
) -> None:
    assert seen_address(common, *forwarded) == "127.0.0.1"


@on_one_engine
@pytest.mark.parametrize(
    ("depth", "forwarded", "ip"),
    [
        ("1", (), "127.0.0.1"),
        ("1", ("198.51.100.7",), "198.51.100.7"),
        ("1", ("6.6.6.6, 198.51.100.7",), "198.51.100.7"),
        ("1", ("6.6.6.6", "198.51.100.7"), "198.51.100.7"),
        ("1", ("198.51.100.7, 6.6.6.6,garbage",), None),
        ("1", ("::ffff:198.51.100.7",), "198.51.100.7"),
        ("1", ("2001:DB8::7",), "2001:db8::7"),
        ("1", ("6.6.6.6 ,  198.51.100.7",), "198.51.100.7"),
        ("2", ("198.51.100.7, 10.0.0.1",), "198.51.100.7"),
        ("2", ("6.6.6.6, 198.51.100.7, 10.0.0.1",), "198.51.100.7"),
        ("2", ("6.6.6.6, 5.5.5.5", "198.51.100.7", "10.0.0.1"), "198.51.100.7"),
        ("2", ("garbage, 10.0.0.1",), None),
    ],
    ids=str,
)
def test_the_address_is_the_one_that_the_outermost_trusted_hop_wrote(
    engine: str,
    open_shared_site: Callable[..., Site],
    depth: str,
    forwarded: tuple[str, ...],
    ip: str | None,
) -> None:
    site = open_shared_site(engine, trusted_proxies=depth)
    assert seen_address(site.workspace(), *forwarded) == ip


def test_networks_are_judged_by_the_address_behind_the_proxy(
    engine: str, open_shared_site: Callable[..., Site]
) -> None:
    home = open_shared_site(engine, trusted_proxies="1").workspace()
    key = home.holder("verify", allowed_cidrs=["198.51.100.0/24"])
    for forwarded, allowed in (
        ("198.51.100.7", True),
        ("6.6.6.6", False),
        ("198.51.100.7, 6.6.6.6", False),
        ("garbage", False),
    ):
        for method, path, body in (
            ("GET", "/v1/self", None),
            ("POST", "/v1/verify", {"api_key": "x"}),
        ):
            response = key.api.call(method, path, body, headers={"X-Forwarded-For": forwarded})
            assert response.status_code == (200 if allowed else 403)


def test_networks_are_judged_by_the_peer_where_no_proxy_is_trusted(home: Workspace) -> None:
    away = home.holder("keys:read", allowed_cidrs=["10.0.0.0/8"])
    response = away.api.call("GET", "/v1/self", headers={"X-Forwarded-For": "10.0.0.1"})
    expect(response, 403, "network.denied")
