"""Incidents, by hand: what is sent, and how answers and refusals are read."""

import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.client import (
    Conflict,
    KeySelection,
    KeysOpen,
    KeyWaiver,
    NotUnderstood,
    SelectionMoved,
    TokenDelivered,
    TokenLost,
)
from keyturn.client.incidents import (
    close_incident,
    export_incident,
    list_incidents,
    open_incident,
    replace_keys,
    select_keys,
)
from tests.client.driving import LOST, OTHER, TOKEN, answer, drive, problem

AT = "2026-01-02T03:04:05.000006Z"
CALLER = {
    "runtime": "nightly",
    "declared": True,
    "network": "10.0.0.0/8",
    "standing": "ours",
    "last_seen_at": AT,
    "recovered": False,
    "new_last_seen_at": None,
    "denied_since": None,
}
CONTAINED = {
    "key_id": "0190-key",
    "name": "worker-prod",
    "service": "worker",
    "environment": "prod",
    "because": "named",
    "status": "revoked",
    "exposed_since": AT,
    "contained_at": AT,
    "replacement_key_id": None,
    "replaced_at": None,
    "recovered_at": None,
    "waived": None,
    "runtimes": [CALLER],
}
LISTED = {
    "id": "0190-incident",
    "workspace_id": "0190-workspace",
    "state": "investigating",
    "reason": "leaked",
    "detail": None,
    "found_url": None,
    "exposed_since": None,
    "containment": "revoke",
    "opened_at": AT,
    "opened_by": "ada",
    "contained_at": AT,
    "counted_at": AT,
    "replaced_at": None,
    "recovered_at": None,
    "closed_at": None,
    "closed_by": None,
    "outcome": None,
    "next_step": "Make a replacement for worker-prod.",
    "seconds": {"contain": 0.02, "replace": None, "recover": None},
    "keys_total": 1,
    "keys_open": 1,
    "report_url": "/v1/incidents/0190-incident/report",
    "version": 1,
}
INCIDENT = {**LISTED, "keys": [CONTAINED], "placements": [], "unreached": []}
OPENED = {**INCIDENT, "unmatched": [1], "elsewhere": []}
MADE = {"replaces": "0190-key", "id": "0190-new", "name": "worker-prod", "deliveries": []}
SENT = {
    "id": "0190-delivery",
    "workspace_id": "0190-workspace",
    "slot": "worker-prod",
    "key_id": "0190-new",
    "destination": "vault",
    "destination_id": "0190-destination",
    "state": "waiting",
    "attempts": 0,
    "failures": 0,
    "created_at": AT,
    "created_by": "ada",
}


def test_an_incident_that_is_opened_tells_how_far_it_is_effective_and_what_named_no_key() -> None:
    created = answer(201, OPENED, keyturn_propagation="complete; nodes=1; ms=3")
    opened = drive(open_incident(tokens=[TOKEN, "kt_prod_x"]), [created]).given()
    assert not opened.is_joined
    assert opened.propagation == "complete; nodes=1; ms=3"
    assert opened.unmatched == [1]
    assert opened.keys[0].slot == "worker-prod"
    assert drive(open_incident(key_ids=["a"]), [answer(200, OPENED)]).given().is_joined
    later = answer(202, OPENED, keyturn_effective_by=AT)
    pending = drive(open_incident(key_ids=["a"], respond_async=True), [later]).given()
    assert (pending.is_joined, pending.propagation) == (False, None)
    assert pending.effective_by is not None


def test_exposed_tokens_go_in_the_body_and_are_shown_nowhere() -> None:
    driven = drive(open_incident(tokens=[TOKEN]), [problem(422, "incident.no_key")])
    [sent] = driven.sent
    assert json.loads(sent.content or b"") == {"tokens": [TOKEN.reveal()]}
    assert TOKEN.reveal()[30:-6] not in f"{sent!r}{sent.url}{driven.raised()}"


def test_an_opening_whose_answer_was_lost_is_sent_again_as_the_same() -> None:
    driven = drive(open_incident(key_ids=["a"]), [LOST, answer(201, OPENED)])
    first, second = driven.sent
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert driven.given().id == "0190-incident"


def test_a_selection_goes_with_what_is_given_alone_and_its_times_need_an_offset() -> None:
    since = datetime(2026, 1, 2, tzinfo=UTC)
    chosen = KeySelection(owner="ada", since=since)
    counted = {"count": 0, "keys": []}
    [sent] = drive(select_keys(chosen), [answer(200, counted)]).sent
    assert json.loads(sent.content or b"") == {
        "select": {"owner": "ada", "since": "2026-01-02T00:00:00Z"},
        "dry_run": True,
    }
    naive = KeySelection(since=since.replace(tzinfo=None))
    with pytest.raises(ValueError, match="needs its offset"):
        open_incident(select=naive)
    with pytest.raises(ValueError, match="needs its offset"):
        close_incident(
            "a",
            "confirmed",
            waive=[KeyWaiver(key_id="a", reason="b", until=since.replace(tzinfo=None))],
        )


@pytest.mark.parametrize(
    ("code", "kind"),
    [("incident.keys_open", KeysOpen), ("incident.count_moved", SelectionMoved)],
)
def test_a_refusal_names_the_keys_without_a_token(code: str, kind: type[Conflict]) -> None:
    keys = [{"key_id": "0190-key", "name": f"worker {TOKEN.reveal()}"}]
    error = drive(
        close_incident("a", "confirmed"), [problem(409, code, body={"keys": keys})]
    ).raised()
    assert isinstance(error, kind)
    assert isinstance(error, KeysOpen | SelectionMoved)
    assert [one.key_id for one in error.keys] == ["0190-key"]
    assert TOKEN.reveal()[-49:] not in repr(error.keys)
    again = pickle.loads(pickle.dumps(error))
    assert again.keys == error.keys


def test_another_conflict_is_none_of_these() -> None:
    error = drive(close_incident("a", "confirmed"), [problem(409, "incident.closed")]).raised()
    assert type(error) is Conflict


def test_replacements_have_their_tokens_once_or_say_where_those_go() -> None:
    body = {
        "replacements": [
            {**MADE, "api_key": OTHER.reveal()},
            {**MADE, "api_key": None},
            {**MADE, "api_key": None, "deliveries": [SENT]},
        ],
        "incident": INCIDENT,
    }
    first, lost, sent = drive(replace_keys("a"), [answer(201, body)]).given().replacements
    assert first.token.hint == OTHER.hint
    with pytest.raises(TokenLost, match="0190-new"):
        _ = lost.token
    with pytest.raises(TokenDelivered, match="vault"):
        _ = sent.token


def test_a_list_counts_keys_and_has_none() -> None:
    call = list_incidents(state="all", key_id="a", count=True).first
    page = drive(call, [answer(200, [LISTED], x_total_count="1")]).given()
    assert (page.total, page.items[0].keys_open) == (1, 1)
    assert page.items[0].is_open


def test_a_key_is_settled_by_recovery_or_by_a_waiver_that_has_not_run_out() -> None:
    moment = datetime(2026, 1, 3, tzinfo=UTC)
    waived = {"reason": "gone", "until": "2026-01-04T00:00:00Z", "by": "ada", "at": AT}
    body = {**OPENED, "keys": [{**CONTAINED, "waived": waived}, {**CONTAINED, "recovered_at": AT}]}
    first, second = drive(open_incident(key_ids=["a"]), [answer(201, body)]).given().keys
    assert first.is_settled(moment)
    assert not first.is_settled(moment + timedelta(days=1))
    assert second.is_settled(moment + timedelta(days=99))


def test_whether_a_key_needs_a_replacement_is_what_the_server_says() -> None:
    body = {**OPENED, "keys": [{**CONTAINED, "needs_replacement": False}, CONTAINED]}
    keys = drive(open_incident(key_ids=["a"]), [answer(201, body)]).given().keys
    assert [one.needs_replacement for one in keys] == [False, True]


@pytest.mark.parametrize(
    "media_type", ["text/markdown; charset=utf-8", "text/html", "text/csv; charset=utf-8"]
)
def test_a_report_is_a_text_of_the_form_that_was_asked_for(media_type: str) -> None:
    told = answer(200, "# Zürich".encode(), content_type=media_type)
    assert drive(export_incident("a", "markdown"), [told]).given() == "# Zürich"
    login = answer(200, b"<html>", content_type="application/json")
    assert isinstance(drive(export_incident("a", "html"), [login]).raised(), NotUnderstood)
