"""What an answer is taken for: a record, a refusal, or nothing that is understood."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.client import (
    NO_RETRY,
    ApiError,
    Conflict,
    Denied,
    Effect,
    Forbidden,
    Grace,
    Invalid,
    InvalidValue,
    NotFound,
    NotUnderstood,
    TokenLost,
    Unauthenticated,
    Unavailable,
    VersionMoved,
)
from keyturn.client.activity import list_activity
from keyturn.client.call import Call
from keyturn.client.health import look_at_readiness, measure_server
from keyturn.client.keys import create_key, list_keys, read_key, revoke_key, suspend_key
from keyturn.client.verify import verify
from keyturn.client.workspaces import create_workspace
from tests.client.driving import KEY, OTHER, TOKEN, answer, drive, problem

VERDICT = {"valid": True, "code": "valid", "request_id": "req-2", "as_of": 7}
VERIFIED = {name: KEY[name] for name in ("id", "name", "service", "environment", "workspace_id")}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiError),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (405, ApiError),
        (408, ApiError),
        (409, Conflict),
        (412, VersionMoved),
        (413, ApiError),
        (415, ApiError),
        (418, ApiError),
        (422, Invalid),
        (429, Unavailable),
        (500, ApiError),
        (502, ApiError),
        (503, Unavailable),
    ],
)
def test_each_status_has_its_error_with_code_and_request_id(
    status: int, kind: type[ApiError]
) -> None:
    error = drive(read_key("a"), [problem(status)], retry=NO_RETRY).raised()
    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.request_id) == (status, "some.code", "req-1")
    assert error.detail == "It is so."
    assert str(error) == "It is so. (some.code, request req-1)"
    assert error.errors == ()


def test_refused_values_are_named() -> None:
    body = {"errors": [{"pointer": "/name", "detail": "Too long."}]}
    error = drive(read_key("a"), [problem(422, body=body)]).raised()
    assert isinstance(error, Invalid)
    assert error.errors == (InvalidValue("/name", "Too long."),)


def test_the_media_type_of_an_error_may_have_parameters_and_capitals() -> None:
    told = answer(
        404,
        {"code": "c", "detail": "d", "request_id": "r"},
        content_type="Application/Problem+JSON; charset=utf-8",
    )
    assert isinstance(drive(read_key("a"), [told]).raised(), NotFound)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"code": "c", "detail": "d"}',
        b'{"code": 1, "detail": "d", "request_id": "r"}',
        b'{"code": "c", "detail": null, "request_id": "r"}',
        b'{"code": "c", "detail": "d", "request_id": "r", "errors": 1}',
        b'{"code": "c", "detail": "d", "request_id": "r", "errors": [{}]}',
    ],
)
def test_a_broken_refusal_is_not_understood(content: bytes) -> None:
    told = answer(422, content, content_type="application/problem+json")
    error = drive(read_key("a"), [told]).raised()
    assert isinstance(error, NotUnderstood)
    assert error.status == 422


@pytest.mark.parametrize("status", [400, 403, 404, 407, 500, 502, 503, 504])
def test_a_page_of_a_proxy_is_not_understood(status: int) -> None:
    told = answer(status, b"<html>Sign in</html>", content_type="text/html")
    error = drive(read_key("a"), [told], retry=NO_RETRY).raised()
    assert isinstance(error, NotUnderstood)
    assert "proxy" in str(error)
    assert error.status == status


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    told = answer(status, location="http://elsewhere.example.com/v1/api-keys/a")
    driven = drive(read_key("a"), [told])
    assert len(driven.sent) == 1
    error = driven.raised()
    assert isinstance(error, NotUnderstood)
    assert "leads elsewhere" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Sign in</html>",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        json.dumps({**KEY, "version": "1"}).encode(),
        json.dumps({**KEY, "created_at": "yesterday"}).encode(),
        json.dumps({**KEY, "created_at": "2026-01-02T03:04:05"}).encode(),
        json.dumps({name: KEY[name] for name in KEY if name != "scopes"}).encode(),
    ],
)
def test_a_success_that_is_no_record_is_not_understood(content: bytes) -> None:
    error = drive(read_key("a"), [answer(200, content)]).raised()
    assert isinstance(error, NotUnderstood)
    assert "Key" in str(error)
    listed = drive(list_keys().first, [answer(200, content)])
    assert (listed.result is not None) is (content == b"[]")


@given(st.integers(200, 599), st.binary(max_size=60), st.sampled_from(["", "json", "problem+json"]))
def test_whatever_answers_it_is_a_record_or_an_error_of_ours(
    status: int, content: bytes, kind: str
) -> None:
    calls: list[Call[Any]] = [
        read_key("a"),
        list_keys().first,
        list_activity().first,
        verify(TOKEN),
    ]
    for call in calls:
        told = answer(status, content, content_type=f"application/{kind}")
        driven = drive(call, [told], retry=NO_RETRY)
        assert driven.error is not None or content.strip() == b"[]"


@pytest.mark.parametrize("status", [200, 201, 203, 205, 206])
def test_only_the_servers_own_word_says_that_a_key_is_revoked(status: int) -> None:
    """A login page answers 200 to everything; the key would live on, taken for a dead one."""
    error = drive(revoke_key("a"), [answer(status, b"<html>Sign in</html>")]).raised()
    assert isinstance(error, NotUnderstood)


def test_a_revocation_says_how_far_it_is_effective() -> None:
    told = "complete; nodes=3; ms=12"
    done = drive(revoke_key("a"), [answer(204, keyturn_propagation=told)]).given()
    assert (done.is_complete, done.propagation, done.effective_by) == (True, told, None)
    later = answer(202, keyturn_effective_by="2026-01-02T03:04:05.000000Z")
    pending = drive(revoke_key("a"), [later]).given()
    assert not pending.is_complete
    assert pending.effective_by == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for spoilt in ("", "soon", "2026-01-02T03:04:05"):
        unknown = drive(revoke_key("a"), [answer(202, keyturn_effective_by=spoilt)]).given()
        assert (unknown.is_complete, unknown.effective_by) == (False, None)


def test_the_figures_of_an_effect_are_those_of_its_header() -> None:
    told = "complete; nodes=3; ms=4990; expired=1"
    done = drive(revoke_key("a"), [answer(204, keyturn_propagation=told)]).given()
    assert (done.nodes, done.took_ms, done.expired) == (3, 4_990, 1)
    at_once = answer(
        202,
        keyturn_propagation="complete; nodes=1; ms=0",
        keyturn_effective_by="2026-01-02T03:04:05.000000Z",
    )
    known = drive(revoke_key("a", respond_async=True), [at_once]).given()
    assert (known.is_complete, known.nodes, known.took_ms, known.expired) == (True, 1, 0, None)
    for strange in ("", "complete", "complete; nodes=x; ms=-1", "complete; nodes; ms=\u0661"):
        unknown = drive(revoke_key("a"), [answer(204, keyturn_propagation=strange)]).given()
        assert (unknown.nodes, unknown.took_ms, unknown.expired) == (None, None, None)


def test_who_would_not_wait_says_so_and_is_told_when() -> None:
    pending = answer(202, KEY, keyturn_effective_by="2026-01-02T03:04:05.000000Z")
    told = drive(suspend_key("a", respond_async=True), [pending])
    assert told.sent[0].headers["Prefer"] == "respond-async"
    effect = told.given().effect
    assert effect is not None
    assert not effect.is_complete
    assert effect.effective_by == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    waited = drive(suspend_key("a"), [answer(200, KEY, keyturn_propagation="complete; nodes=1")])
    assert "Prefer" not in waited.sent[0].headers
    assert waited.given().effect == Effect(is_complete=True, propagation="complete; nodes=1")


def test_a_verification_may_want_to_be_as_new_as_is_known() -> None:
    late = {**VERDICT, "grace": {"late_seconds": 3}}
    told = drive(verify("a", min_position=17), [problem(503, "freshness_lost"), answer(200, late)])
    assert {one.headers["Keyturn-Min-Position"] for one in told.sent} == {"17"}
    assert len(told.sent) == 2
    assert told.given().grace == Grace(late_seconds=3)


def test_what_a_newer_server_tells_is_left_out_and_its_words_are_taken() -> None:
    told = {**KEY, "status": "quarantined", "mood": {"of": "the day"}, "owner": None}
    key = drive(read_key("a"), [answer(200, told)]).given()
    assert key.status == "quarantined"
    assert key.owner is None
    assert key.metadata == {"team": {"size": 3}}
    assert key.slot == "scheduler-prod"
    verdict = drive(verify(TOKEN), [answer(200, {**VERDICT, "code": "paused"})]).given()
    assert verdict.code == "paused"
    error = drive(read_key("a"), [problem(409, "new.code", body={"hint": 1})]).raised()
    assert error.code == "new.code"


def test_a_token_that_was_shown_before_is_told_when_it_is_asked_for() -> None:
    issued = drive(create_key("a"), [answer(201, {**KEY, "api_key": None})]).given()
    assert issued.api_key is None
    with pytest.raises(TokenLost, match="revoke it") as lost:
        _ = issued.token
    assert lost.value.key_id == KEY["id"]
    assert lost.value.code == "client.token_lost"
    workspace = {name: KEY[name] for name in ("id", "name", "status", "version")}
    times = {name: KEY[name] for name in ("created_at", "updated_at")}
    told = answer(201, {**workspace, **times, "networks": [], "api_key": None})
    made = drive(create_workspace("a"), [told]).given()
    with pytest.raises(TokenLost, match="Workspace") as lost:
        _ = made.token
    assert lost.value.workspace_id == KEY["id"]


def test_an_answer_without_the_tokens_member_is_not_understood() -> None:
    """The member is null where the token was shown before; without it, this is another answer."""
    assert isinstance(drive(create_key("a"), [answer(201, KEY)]).raised(), NotUnderstood)


def test_a_verdict_is_no_bool_and_denies_by_raising() -> None:
    verified = {**VERIFIED, "scopes": [], "metadata": {}}
    good = drive(verify(OTHER), [answer(200, {**VERDICT, "key": verified})]).given()
    assert good.require().id == KEY["id"]
    denial = {**VERDICT, "valid": False, "code": "revoked", "key": verified}
    denied = drive(verify(OTHER), [answer(200, denial)]).given()
    for verdict in (good, denied):
        with pytest.raises(TypeError, match=r"\.valid"):
            bool(verdict)
    with pytest.raises(Denied) as refusal:
        denied.require()
    assert (refusal.value.code, refusal.value.request_id) == ("revoked", "req-2")


def test_a_verdict_that_is_valid_for_no_key_is_not_let_through() -> None:
    odd = drive(verify(OTHER), [answer(200, VERDICT)]).given()
    with pytest.raises(Denied):
        odd.require()


def test_a_node_that_cannot_serve_says_so_as_an_answer() -> None:
    told = {
        "status": "unavailable",
        "version": "1",
        "environment": "e",
        "checks": {"database": "x"},
    }
    driven = drive(look_at_readiness(), [answer(503, {**told, "database": "unavailable"})])
    assert len(driven.sent) == 1
    assert not driven.given().is_ready
    assert driven.given().database == "unavailable"
    html = answer(503, b"<html>", content_type="text/html")
    assert isinstance(drive(look_at_readiness(), [html]).raised(), NotUnderstood)


def test_metrics_are_text() -> None:
    told = answer(200, b"a 1\n", content_type="text/plain; version=1.0.0")
    assert drive(measure_server(), [told]).given() == "a 1\n"
    page = answer(200, b"<html>", content_type="text/html")
    assert isinstance(drive(measure_server(), [page]).raised(), NotUnderstood)
