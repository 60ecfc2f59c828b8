"""Section 4: lists, newest first, in pages."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.acceptance.api import Api, Site, Workspace, expect, expect_invalid, label

NEXT = re.compile(r'<(/v1/[^>]+)>; rel="next"')


def next_of(response: httpx2.Response) -> str | None:
    """Where the next page is, by the `Link` header."""
    link = response.headers.get("link")
    if link is None:
        return None
    match = NEXT.fullmatch(link)
    assert match is not None, link
    return match.group(1)


def walk(caller: Api, path: str, between: Callable[[], object] = lambda: None) -> list[Any]:
    """Every item of a list, page by page."""
    found: list[Any] = []
    url: str | None = path
    while url is not None:
        response = caller.get(url)
        found += expect(response, 200)
        url = next_of(response)
        between()
    return found


def fill(site: Site, home: Workspace, count: int) -> None:
    for number in range(count):
        home.admin.create(service=f"s{number}", environment="prod", owner="ops")


PATHS = ["/v1/api-keys", "/v1/slots", "/v1/requests", "/v1/workspaces"]


def reader(site: Site, home: Workspace, path: str) -> Api:
    return site.operator if path == "/v1/workspaces" else home.admin


def test_pages_hold_everything_once_and_newest_first(site: Site, home: Workspace) -> None:
    fill(site, home, 7)
    home.settled_requests()
    for path in ("/v1/api-keys", "/v1/slots"):
        whole = expect(home.admin.get(path), 200)
        assert [one["created_at"] for one in whole] == sorted(
            (one["created_at"] for one in whole), reverse=True
        )
        assert len(whole) == 8
        name = "id" if path == "/v1/api-keys" else "name"
        for limit in (1, 2, 3, 7, 8, 9, 1_000):
            paged = walk(home.admin, f"{path}?limit={limit}")
            assert [one[name] for one in paged] == [one[name] for one in whole]


def test_pages_have_no_repeats_and_no_gaps_while_rows_are_added(home: Workspace) -> None:
    before = {home.admin.create().id for _ in range(6)}
    found = walk(home.admin, "/v1/api-keys?limit=2", home.admin.create)
    ids = [one["id"] for one in found]
    assert len(ids) == len(set(ids))
    assert before <= set(ids)


def test_pages_of_requests_have_no_repeats_and_no_gaps_while_they_are_added(
    home: Workspace,
) -> None:
    key = home.admin.create()
    for _ in range(7):
        home.verify(key.token)
    home.requests(7, key_id=key.id)
    before = {one["id"] for one in home.settled_requests(key_id=key.id)}

    def more() -> None:
        home.verify(key.token)
        home.settled_requests()

    found = walk(home.admin, f"/v1/requests?limit=2&key_id={key.id}", more)
    ids = [one["id"] for one in found]
    assert len(ids) == len(set(ids))
    assert before <= set(ids)
    assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)


def test_pages_of_activity_have_no_repeats_and_no_gaps_while_it_is_added(home: Workspace) -> None:
    for _ in range(4):
        home.admin.create()
    before = {one["id"] for one in home.activity()}
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = expect(home.admin.get("/v1/activity-logs", limit=3, **cursor), 200)
        assert len(body["items"]) <= 3
        ids += [one["id"] for one in body["items"]]
        home.admin.create()
        if body["next_cursor"] is None:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert len(ids) == len(set(ids))
    assert before <= set(ids)


def test_workspaces_are_paged_for_operators(site: Site) -> None:
    made = [site.workspace().id for _ in range(5)]
    ids = [one["id"] for one in walk(site.operator, "/v1/workspaces?limit=2")]
    assert len(ids) == len(set(ids))
    assert [one for one in ids if one in made] == made[::-1]


def test_the_link_keeps_every_filter(site: Site, home: Workspace) -> None:
    fill(site, home, 3)
    home.admin.create(name="unowned-prod")
    query = "status=active&environment=prod&owner=ops&limit=1&count=true"
    seen = []
    url: str | None = f"/v1/api-keys?{query}"
    while url is not None:
        response = home.admin.get(url)
        seen += expect(response, 200)
        assert response.headers["x-total-count"] == "3"
        url = next_of(response)
        assert url is None or all(part in url for part in query.split("&"))
    assert [one["owner"] for one in seen] == ["ops"] * 3


def test_the_link_keeps_filters_with_odd_letters(home: Workspace) -> None:
    owner = "a&b=c d+e%/?#ä"
    for _ in range(3):
        home.admin.create(owner=owner)
    response = home.admin.get("/v1/api-keys", owner=owner, limit=1)
    assert len(expect(response, 200)) == 1
    second = home.admin.get(next_of(response) or "")
    assert [one["owner"] for one in expect(second, 200)] == [owner]


def test_the_last_page_has_no_link(home: Workspace) -> None:
    for _ in range(3):
        home.admin.create()
    assert next_of(home.admin.get("/v1/api-keys", limit=4)) is None
    assert next_of(home.admin.get("/v1/api-keys", limit=3)) is not None


def test_the_total_is_told_on_request_and_ignores_the_page(home: Workspace) -> None:
    for _ in range(4):
        home.admin.create()
    assert "x-total-count" not in home.admin.get("/v1/api-keys").headers
    assert "x-total-count" not in home.admin.get("/v1/api-keys", count="false").headers
    for limit in (1, 2, 100):
        response = home.admin.get("/v1/api-keys", count="true", limit=limit)
        assert response.headers["x-total-count"] == "5"
    response = home.admin.get("/v1/api-keys", count="true", status="revoked")
    assert response.headers["x-total-count"] == "0"


@pytest.mark.parametrize("path", [*PATHS, "/v1/activity-logs"])
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "abc", "", "1.5", "1e2", " ", "9" * 50])
def test_another_limit_is_422(site: Site, common: Workspace, path: str, limit: str) -> None:
    expect_invalid(reader(site, common, path).get(path, limit=limit), "/limit")


@pytest.mark.parametrize("path", [*PATHS, "/v1/activity-logs"])
def test_the_bounds_of_the_limit_are_taken(site: Site, common: Workspace, path: str) -> None:
    for limit in ("1", "1000"):
        expect(reader(site, common, path).get(path, limit=limit), 200)


def spelled(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", [*PATHS, "/v1/activity-logs"])
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%%%",
        "a" * 5_000,
        spelled(),
        spelled("x"),
        spelled(1, 2, 3, 4),
        spelled(-1),
        spelled(-1, "x"),
        spelled(2**70),
        spelled(2**70, "x"),
        spelled(True),
        spelled(None),
        spelled([[]]),
        spelled({"a": 1}),
        spelled("'; DROP TABLE keys; --"),
        base64.urlsafe_b64encode(b"[" * 300).decode().rstrip("="),
    ],
)
def test_what_is_no_cursor_is_422(site: Site, common: Workspace, path: str, cursor: str) -> None:
    expect_invalid(reader(site, common, path).get(path, cursor=cursor), "/cursor")


def test_a_cursor_of_another_list_is_422(site: Site, home: Workspace) -> None:
    fill(site, home, 2)
    home.settled_requests()
    cursors = {}
    for path in ("/v1/api-keys", "/v1/slots", "/v1/requests"):
        url = next_of(home.admin.get(path, limit=1))
        assert url is not None
        cursors[path] = url.rpartition("cursor=")[2]
    body = expect(home.admin.get("/v1/activity-logs", limit=1), 200)
    cursors["/v1/activity-logs"] = body["next_cursor"]
    for source, cursor in cursors.items():
        for path in cursors:
            response = home.admin.get(f"{path}?cursor={cursor}")
            if path == source:
                expect(response, 200)
            else:
                expect_invalid(response, "/cursor")


def test_a_cursor_of_another_workspace_tells_nothing(home: Workspace, other: Workspace) -> None:
    for _ in range(3):
        other.admin.create()
    url = next_of(other.admin.get("/v1/api-keys", limit=1)) or ""
    found = expect(home.admin.get(url), 200)
    assert {one["workspace_id"] for one in found} <= {home.id}


def test_a_plain_list_is_an_array_even_when_empty(home: Workspace) -> None:
    assert expect(home.admin.get("/v1/api-keys", status="revoked"), 200) == []
    assert expect(home.admin.get("/v1/requests", request_id=label()), 200) == []
    assert expect(home.admin.get("/v1/slots", service="none"), 200) == []
