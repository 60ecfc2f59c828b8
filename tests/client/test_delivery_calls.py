"""Destinations and deliveries, by hand: what is sent, and how answers are read."""

import json
import pickle

import pytest

from keyturn.client import NotUnderstood, TokenDelivered
from keyturn.client.deliveries import cancel_delivery, retry_delivery
from keyturn.client.destinations import (
    change_destination,
    create_destination,
    prove_destination,
    remove_destination,
)
from keyturn.client.keys import create_key
from keyturn.client.rotations import start_rotation
from tests.client.driving import KEY, LOST, answer, drive, problem
from tests.client.test_rotation_calls import STARTED

DESTINATION = {
    "id": "0190-destination",
    "workspace_id": "0190-workspace",
    "name": "vault-prod",
    "kind": "vault",
    "config": {"mount": "secret", "namespace": None},
    "state": "unproven",
    "proven_at": None,
    "fault": "It is sealed.",
    "created_at": "2026-01-02T03:04:05.000006Z",
    "created_by": "ada",
    "updated_at": "2026-01-02T03:04:05.000006Z",
    "version": 2,
}
DELIVERY = {
    "id": "0190-delivery",
    "workspace_id": "0190-workspace",
    "slot": "scheduler-prod",
    "key_id": "0190-key",
    "rotation_id": None,
    "destination": "vault-prod",
    "destination_id": "0190-destination",
    "state": "waiting",
    "location": None,
    "receipt": None,
    "attempts": 1,
    "failures": 1,
    "fault": {"kind": "denied", "detail": "It is sealed."},
    "next_attempt_at": "2026-01-02T03:04:06.000006Z",
    "delivered_at": None,
    "checked_at": None,
    "ended_at": None,
    "created_at": "2026-01-02T03:04:05.000006Z",
    "created_by": "ada",
}
SECRET = "hvs.s3cret"


def test_a_destination_that_is_not_proven_is_an_answer_that_says_why() -> None:
    made = drive(create_destination("vault-prod", "vault"), [answer(201, DESTINATION)]).given()
    assert not made.is_proven
    assert made.fault == "It is sealed."
    proven = {**DESTINATION, "state": "proven", "fault": None}
    assert drive(prove_destination("vault-prod"), [answer(200, proven)]).given().is_proven


def test_a_destination_whose_answer_was_lost_is_made_once() -> None:
    call = create_destination("vault-prod", "vault", credential={"token": SECRET})
    driven = drive(call, [LOST, answer(201, DESTINATION)])
    first, second = driven.sent
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert json.loads(first.content or b"")["credential"] == {"token": SECRET}


def test_a_credential_shows_itself_in_no_call() -> None:
    for call in (
        create_destination("vault-prod", "vault", credential={"token": SECRET}),
        change_destination("vault-prod", credential={"token": SECRET}),
    ):
        driven = drive(call, [problem(422)])
        assert SECRET not in repr(call) + repr(driven.sent) + repr(driven.error)


def test_only_what_says_so_has_taken_a_destination_away() -> None:
    gone = drive(remove_destination("vault-prod", version=2), [answer(204)])
    assert gone.error is None
    assert gone.sent[0].headers["If-Match"] == '"2"'
    other = drive(remove_destination("vault-prod"), [answer(200, b"<html>")]).raised()
    assert isinstance(other, NotUnderstood)
    assert len(drive(remove_destination("vault-prod"), [LOST]).sent) == 1


def test_a_token_that_is_delivered_is_no_lost_one() -> None:
    sent = {**KEY, "api_key": None, "deliveries": [DELIVERY]}
    made = drive(create_key("a", deliver_to=["vault-prod"]), [answer(201, sent)]).given()
    assert [(one.destination, one.is_open) for one in made.deliveries] == [("vault-prod", True)]
    assert made.deliveries[0].fault is not None
    assert made.deliveries[0].fault.kind == "denied"
    with pytest.raises(TokenDelivered, match="vault-prod") as delivered:  # and no `TokenLost`
        _ = made.token
    assert delivered.value.destinations == ("vault-prod",)
    again = pickle.loads(pickle.dumps(delivered.value))
    assert (again.key_id, again.destinations) == (made.id, ("vault-prod",))
    rotated = {**STARTED, "api_key": None, "deliveries": [DELIVERY]}
    started = drive(start_rotation("0190-key"), [answer(201, rotated)]).given()
    with pytest.raises(TokenDelivered, match="0190-new"):
        _ = started.token


def test_to_no_destination_is_said_and_not_left_out() -> None:
    [sent] = drive(start_rotation("0190-key", deliver_to=[]), [answer(201, STARTED)]).sent
    assert json.loads(sent.content or b"") == {"deliver_to": []}


def test_a_delivery_is_hurried_or_given_up_once() -> None:
    for call, path in (
        (retry_delivery("0190-delivery"), "retry"),
        (cancel_delivery("0190-delivery", "gone"), "cancel"),
    ):
        first, second = drive(call, [LOST, answer(200, DELIVERY)]).sent
        assert first.url.endswith(f"/v1/deliveries/0190-delivery/{path}")
        assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
