"""Lists of any length: asked for page by page, from this server alone, and never cut short."""

from typing import Any

import pytest

from keyturn.client import NotUnderstood, Page
from keyturn.client.activity import list_activity
from keyturn.client.call import Answer, Call
from keyturn.client.keys import list_keys
from tests.client.driving import KEY, TOKEN, URL, answer, drive

ITEM = {
    "id": "1",
    "actor_type": "user",
    "actor_label": "Ada",
    "action": "api_key.created",
    "category": "security",
    "resource_type": "api_key",
    "resource_id": "2",
    "status": "success",
    "message": "Made.",
    "metadata": {},
    "retention_days": 400,
    "expires_at": "2027-01-02T03:04:05Z",
    "created_at": "2026-01-02T03:04:05Z",
}


def first(link: str, **headers: str) -> Page[Any]:
    told = answer(200, [KEY], link=link, **headers)
    return drive(list_keys(owner="me").first, [told]).given()


def followed(page: Page[Any]) -> str:
    assert page.following is not None
    [sent] = drive(page.following, [answer(200, [])]).sent
    assert sent.headers["Authorization"] == f"Bearer {TOKEN.reveal()}"
    return sent.url


@pytest.mark.parametrize(
    "link",
    [
        '</v1/api-keys?cursor=abc&owner=you>; rel="next"',
        "</v1/api-keys?cursor=abc>; rel=next",
        '</v1/api-keys?cursor=abc>; title="a, b"; rel="last NEXT"',
        '</v1/api-keys?cursor=xyz>; rel="prev", </v1/api-keys?cursor=abc>; rel="next"',
        '</v1/api-keys?cursor=abc>; rel="next", </v1/api-keys?cursor=xyz>; rel="prev"',
    ],
)
def test_the_next_page_is_the_same_question_from_the_cursor_on(link: str) -> None:
    assert followed(first(link)) == f"{URL}/v1/api-keys?owner=me&cursor=abc"


@pytest.mark.parametrize(
    "link",
    [
        '<http://elsewhere.example.com/v1/api-keys?cursor=abc>; rel="next"',
        '<//elsewhere.example.com/?cursor=abc>; rel="next"',
        '</v1/other?cursor=abc&owner=x>; rel="next"',
    ],
)
def test_a_link_that_leads_elsewhere_is_never_sent_the_token(link: str) -> None:
    assert followed(first(link)) == f"{URL}/v1/api-keys?owner=me&cursor=abc"


@pytest.mark.parametrize("link", ["", "nonsense", '</v1/api-keys?cursor=abc>; rel="prev"', "<>"])
def test_without_a_next_link_it_is_the_last_page(link: str) -> None:
    assert first(link).following is None


@pytest.mark.parametrize(
    "link", ['</v1/api-keys>; rel="next"', '</v1/api-keys?cursor=>; rel="next"']
)
def test_a_list_that_goes_on_without_saying_where_is_no_whole_list(link: str) -> None:
    driven = drive(list_keys().first, [answer(200, [KEY], link=link)])
    assert isinstance(driven.raised(), NotUnderstood)


def test_a_list_that_leads_back_to_the_same_page_ends_as_an_error() -> None:
    link = '</v1/api-keys?cursor=abc>; rel="next"'
    page = first(link)
    assert page.following is not None
    again = drive(page.following, [answer(200, [KEY], link=link)])
    assert isinstance(again.raised(), NotUnderstood)


@pytest.mark.parametrize(
    ("told", "total"), [("12", 12), ("0", 0), ("", None), ("-1", None), ("many", None), ("²", None)]
)
def test_the_total_is_a_number_or_unknown(told: str, total: int | None) -> None:
    assert first("", x_total_count=told).total == total


def test_activity_tells_its_cursor_in_the_body() -> None:
    def page(cursor: str | None) -> Answer:
        return answer(200, {"items": [ITEM], "next_cursor": cursor, "current_retention_days": 1})

    call: Call[Page[Any]] = list_activity(actor="Ada", limit=1).first
    one = drive(call, [page("abc")]).given()
    assert one.following is not None
    two = drive(one.following, [page(None)])
    assert two.sent[0].url == f"{URL}/v1/activity-logs?actor=Ada&limit=1&cursor=abc"
    assert two.given().following is None
    assert isinstance(drive(one.following, [page("abc")]).raised(), NotUnderstood)
